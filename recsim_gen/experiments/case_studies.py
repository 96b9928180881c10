"""Content of case studies: the history to show for an episode, and numbers of each image drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.types import Catalog, Dataset, Episode, Scope
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.encoders.features import item_texts
from recsim_gen.encoders.retrieval import retrieve
from recsim_gen.judging.queries import Triples, ask, triples_of

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from recsim_gen.datasets.manifests import Manifest
    from recsim_gen.judging.judges import Judge
    from recsim_gen.models.family import ModelFamily


def retrieved_items(
    episodes: Sequence[Episode], catalog: Catalog, family: ModelFamily, *, k: int = 5, device: str = "cpu"
) -> list[set[int]]:
    """Return the ``k`` items of each history whose captions are nearest to the reference's (Eq. 1–4).

    By the family's text encoder; ties go to the later item.
    """
    rows = sorted({row for e in episodes for row in (e.reference, *e.history)})
    encoded = family.text_encoder(device=device).encode_texts(item_texts(catalog)[rows].tolist())
    vectors = np.zeros((len(catalog), encoded.shape[1]), dtype=encoded.dtype)
    vectors[rows] = encoded
    return [set(near.tolist()) for near in retrieve(episodes, vectors).between(0, k)]


def own_image(dataset: Dataset, item: int) -> Image.Image | None:
    """Return the item's own image, or None."""
    images = dataset.catalog.images
    return images.read(item) if images is not None and images.present[item] else None


def shown_history(episode: Episode, retrieved: set[int], longest: int = 10) -> list[int]:
    """Return the history items that fit into a row, oldest first: the retrieved and the latest others."""
    others = [row for row in episode.history if row not in retrieved]
    room = max(0, longest - len(retrieved))
    kept = {*list(retrieved)[:longest], *others[len(others) - min(room, len(others)) :]}
    return [row for row in episode.history if row in kept]


def ranks(
    images: Manifest,
    dataset: Dataset,
    episodes: Sequence[Episode],
    judge: Judge,
    *,
    scope: Scope = "graph",
    device: str = "cpu",
) -> np.ndarray:
    """Return (B, 2) the judge's rank of each reference before and with its image in ``images``."""
    triples = triples_of(read_images(images, dataset), dataset, judge.catalog, device=device)
    c = ask(judge.ranker, triples, scope=scope, what="ranks")
    at = _places(triples, episodes)
    return np.stack([c.original_rank[at], c.rank[at]], axis=1)


def image_features(
    images: Manifest, dataset: Dataset, catalog: Catalog, episodes: Sequence[Episode], *, device: str = "cpu"
) -> np.ndarray:
    """Return the (B, d) features of each episode's image in ``images``, by the encoder of ``catalog``."""
    triples = triples_of(read_images(images, dataset), dataset, catalog, device=device)
    return triples.features[triples.which[_places(triples, episodes)]]


def _places(triples: Triples, episodes: Sequence[Episode]) -> list[int]:
    """Return the position of each episode's triple."""
    pairs = zip(triples.users.tolist(), triples.items.tolist(), strict=True)
    place = {pair: k for k, pair in enumerate(pairs)}
    return [place[e.user, e.reference] for e in episodes]


def scores(
    images: Manifest,
    dataset: Dataset,
    episodes: Sequence[Episode],
    ranked: np.ndarray,
    *,
    family: ModelFamily,
    device: str = "cpu",
) -> pd.DataFrame:
    """Return numbers of each episode's image in ``images`` (from `images_for`), by episode id.

    Columns ``original_rank`` and ``rank`` of ``ranked`` (B, 2); for Boutique also ``original_utility`` and
    ``utility`` of the looks read by the family's verifier, in units of the oracle, and ``reads``, the
    category that it recognises.
    """
    import pandas as pd

    table = pd.DataFrame(ranked, columns=["original_rank", "rank"])
    for name, values in _truth(images, dataset, episodes, family, device).items():
        table[name] = values
    return table.set_index(pd.Index([e.id for e in episodes], name="episode"))


def _truth(
    images: Manifest, dataset: Dataset, episodes: Sequence[Episode], family: ModelFamily, device: str
) -> dict[str, np.ndarray]:
    """Return utilities and categories by Boutique's ground truth; {} for other data."""
    from recsim_gen.datasets.boutique.world import Boutique

    if not isinstance(dataset, Boutique) or not family.models.verifier:
        return {}
    from recsim_gen.datasets.boutique.attributes import CATEGORIES
    from recsim_gen.metrics.looks import LookReader
    from recsim_gen.metrics.resources import Resources

    reader = LookReader(Resources(device=device, family=family))
    codes = reader.encode_images(images_in(images, dataset, episodes)).astype(np.int64)
    users, own = np.array([e.user for e in episodes]), dataset.world.codes[[e.reference for e in episodes]]
    return {
        "original_utility": dataset.utility(users, own),
        "utility": dataset.utility(users, codes),
        "reads": np.array(CATEGORIES)[codes[:, 0]],
    }


def images_in(images: Manifest, dataset: Dataset, episodes: Sequence[Episode]) -> list[Image.Image]:
    """Return the image of each episode in ``images``, as RGB."""
    image_set = read_images(images, dataset)
    users, items = np.array([e.user for e in episodes]), np.array([e.reference for e in episodes])
    return [image_set.reader.read(int(row)) for row in image_set.find(users, items)]
