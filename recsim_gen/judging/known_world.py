"""Images with a known effect: a judge must recognise them in Boutique before it can be trusted.

For each test episode (user u, reference i), images are drawn in the reference's category: ``oracle`` (what u
likes best), ``opposite`` (what u likes least), ``placebo`` (the reference's own look, drawn again) and
``random`` looks. The true change of utility of an image is V(u, its look) − V(u, the reference's look).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    from recsim_gen.core.protocols import ImageEncoder
    from recsim_gen.core.types import Dataset, Episode
    from recsim_gen.datasets.boutique.attributes import Attributes
    from recsim_gen.datasets.boutique.world import Boutique

DRAWN = ("oracle", "opposite", "placebo", "random")


@dataclass(frozen=True, eq=False)
class KnownImages:
    """Images of one kind: ``users``, ``items`` (B,) rows, ``features`` (B, d), ``utility`` change (B,)."""

    users: np.ndarray
    items: np.ndarray
    features: np.ndarray
    utility: np.ndarray


def boutique_of(dataset: Dataset) -> Boutique:
    """Return the data set as a Boutique. Raises DataError if its true preferences are unknown."""
    from recsim_gen.datasets.boutique.world import Boutique

    if not isinstance(dataset, Boutique):
        raise DataError(f"tastes must be known, {dataset.name!r} is real", remedy="Use --data boutique")
    return dataset


def draw_images(
    dataset: Boutique, kind: str, encoder: ImageEncoder, rng: Rng, *, draws: int = 1, batch_size: int = 256
) -> KnownImages:
    """Draw ``draws`` images of a ``kind`` (one of `DRAWN`) for every test episode, and encode them."""
    from recsim_gen.datasets.boutique.attributes import codes_of
    from recsim_gen.datasets.boutique.drawing import render

    episodes = [(e, draw) for e in dataset.episodes for draw in range(draws)]
    looks = [_look(dataset, kind, e, rng.for_(kind, e.id, draw)) for e, draw in episodes]
    features = []
    for start in bar(range(0, len(episodes), batch_size), f"drawing {kind}"):
        part = slice(start, start + batch_size)
        pictures = [
            render(look, rng.for_("render", kind, e.id, draw))
            for look, (e, draw) in zip(looks[part], episodes[part], strict=True)
        ]
        features.append(encoder.encode_images(pictures))
    users = np.array([e.user for e, _ in episodes])
    items = np.array([e.reference for e, _ in episodes])
    before = dataset.utility(users, dataset.world.codes[items])
    change = dataset.utility(users, codes_of(looks)) - before
    return KnownImages(users, items, np.concatenate(features), change)


def _look(dataset: Boutique, kind: str, episode: Episode, rng: Rng) -> Attributes:
    """Return the look of a kind for one episode."""
    from recsim_gen.datasets.boutique.attributes import Attributes, all_codes

    world = dataset.world
    own = world.attributes(episode.reference)
    if kind == "oracle":
        return world.best_attributes(episode.user, own.category)
    if kind == "opposite":
        return world.worst_attributes(episode.user, own.category)
    if kind == "random":
        codes = all_codes(own.category)
        return Attributes.of(codes[rng.numpy().integers(len(codes))])
    return own
