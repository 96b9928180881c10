"""Input of metrics: generated images, each with what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore

if TYPE_CHECKING:
    from recsim_gen.core.types import Dataset, Episode, ImageBatch
    from recsim_gen.datasets.image_sets import ImageSet

MISSING = -1

MEANING = {
    "target": "the reference's own picture",
    "history": "pictures of the history",
    "user": "the user of each picture",
    "item": "the item that each picture is of",
    "target_text": "the reference's caption",
    "history_text": "captions of the history",
    "keywords": "keywords of each user's taste",
    "prompt": "the text that each picture is asked to show",
}
"""Fields that a metric may need, with their descriptions in messages."""


@dataclass(frozen=True, eq=False)
class Rows:
    """B generated images; images are numbers of ``store.album``.

    All fields but ``image`` are None if unknown. Raises DataError if lengths differ.

    Parameters
    ----------
    store
        Features of the images.
    image
        (B,) generated images.
    target, history
        (B,) and (B, H) images, −1 for none.
    user, item
        (B,) rows of ``Interactions.user_ids`` and of the catalogue.
    target_text, history_text, keywords
        (B,), (B, H) and (B, K) str, "" for none.
    prompt
        (B,) str, usually the reference's caption, the same for all methods.
    labels
        {name: (B,)} label columns of a table.
    """

    store: FeatureStore
    image: np.ndarray
    target: np.ndarray | None = None
    history: np.ndarray | None = None
    user: np.ndarray | None = None
    item: np.ndarray | None = None
    target_text: np.ndarray | None = None
    history_text: np.ndarray | None = None
    keywords: np.ndarray | None = None
    prompt: np.ndarray | None = None
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in {**{name: getattr(self, name) for name in MEANING}, **self.labels}.items():
            if values is not None and len(values) != len(self.image):
                raise DataError(f"{name} must have {len(self.image)} rows, got {len(values)}")

    def __len__(self) -> int:
        return len(self.image)

    @property
    def has(self) -> frozenset[str]:
        """Names of the fields that are not None."""
        return frozenset(name for name in MEANING if getattr(self, name) is not None)

    def get(self, name: str) -> np.ndarray:
        """Return a field that a metric needs. Raises DataError if it is None."""
        values: np.ndarray | None = getattr(self, name)
        if values is None:
            raise DataError(
                f"rows with {name} ({MEANING[name]}) are wanted, got {sorted(self.has)}",
                remedy="Give it to Rows, or leave the metric out",
            )
        return values


def rows_of(
    dataset: Dataset,
    batches: Sequence[ImageBatch],
    *,
    history: int | None = None,
    keywords: Mapping[str, Sequence[str]] | None = None,
    prompts: Mapping[str, str] | None = None,
    store: FeatureStore | None = None,
) -> Rows:
    """Return rows for generated images, with the reference and the history of each episode.

    Labels are ``variant``, ``episode``, ``item`` (id), ``seed`` and ``person`` (whose sequence the user is).

    Parameters
    ----------
    dataset
        Data set with the test episodes that the batches name.
    batches
        One or several per generator; the generator's name is the label ``variant``.
    history
        Number of history items to compare with, the latest ones; None: all.
    keywords, prompts
        {episode id: …} of every episode of the batches; without prompts, the references' captions.
    store
        Features computed before; None: a new store.

    Raises
    ------
    DataError
        If an episode is unknown, an item is not its reference, or keywords are missing.
    """
    store = store or FeatureStore(Album())
    by_id = {episode.id: episode for episode in dataset.episodes}
    image = np.concatenate([store.album.add_batch(batch) for batch in batches])
    names = np.concatenate([np.asarray(batch.episode) for batch in batches]).tolist()
    for name in names:
        if name not in by_id:
            raise DataError(f"unknown episode {name!r} of {dataset.name}", remedy="Draw for this data")
    episodes = [by_id[name] for name in names]
    item = np.concatenate([np.asarray(batch.item) for batch in batches])
    wrong = np.flatnonzero(item != [e.reference for e in episodes])
    if len(wrong):
        e = episodes[wrong[0]]
        raise DataError(
            f"episode {e.id} has reference row {e.reference}, got an image of row {item[wrong[0]]}"
        )
    labels = {
        "variant": np.repeat([b.generator for b in batches], [len(b.pixels) for b in batches]),
        "seed": np.concatenate([np.asarray(batch.seed) for batch in batches]),
    }
    texts = {"keywords": _keywords(keywords, names)}
    if prompts is not None:
        texts["prompt"] = np.array([_given(prompts, n, "prompt") for n in names], dtype=str)
    return _beside(dataset, store, image, episodes, history, labels, texts)


def rows_of_files(
    dataset: Dataset,
    images: ImageSet,
    variant: str,
    *,
    history: int | None = None,
    users: Sequence[str] | None = None,
    keywords: Mapping[str, Sequence[str]] | None = None,
    store: FeatureStore | None = None,
) -> Rows:
    """Return rows for images from files (see `recsim_gen.datasets.image_sets`), as ``rows_of`` does.

    Raises DataError if a requested user has no test episode with the item as reference.
    """
    store = store or FeatureStore(Album())
    user, item, picture = images.pairs(dataset, users)
    of = {(e.user, e.reference): e for e in dataset.episodes}
    episodes = []
    for u, i in zip(user.tolist(), item.tolist(), strict=True):
        if (u, i) not in of:
            ids = dataset.interactions.user_ids[u], dataset.catalog.item_ids[i]
            raise DataError(f"user {str(ids[0])!r} has no test episode whose reference is {str(ids[1])!r}")
        episodes.append(of[u, i])
    image = store.album.add_reader(images.reader, picture)
    labels = {"variant": np.full(len(image), variant), "seed": np.zeros(len(image), dtype=np.int64)}
    texts = {"keywords": _keywords(keywords, [e.id for e in episodes])}
    return _beside(dataset, store, image, episodes, history, labels, texts)


def _beside(
    dataset: Dataset,
    store: FeatureStore,
    image: np.ndarray,
    episodes: Sequence[Episode],
    history: int | None,
    labels: Mapping[str, np.ndarray],
    texts: Mapping[str, Any],
) -> Rows:
    """Return the images with their episodes' references, histories and captions from the catalogue."""
    from recsim_gen.encoders.features import item_texts

    catalog = dataset.catalog
    reference = np.array([e.reference for e in episodes], dtype=np.int64)
    past = _padded([e.history[-history:] if history else e.history for e in episodes], MISSING)
    captions = item_texts(catalog)
    pictures: dict[str, np.ndarray] = {}
    if catalog.images is not None:
        number = store.album.add_reader(catalog.images, np.concatenate([reference, past[past >= 0]]))
        shown = np.full(past.shape, MISSING)
        shown[past >= 0] = number[len(reference) :]
        pictures = {"target": number[: len(reference)], "history": shown}
    return Rows(
        store,
        image,
        **pictures,
        user=np.array([e.user for e in episodes], dtype=np.int64),
        item=reference,
        target_text=captions[reference],
        prompt=texts.get("prompt", captions[reference]),
        keywords=texts["keywords"],
        history_text=np.where(past >= 0, captions[np.maximum(past, 0)], ""),
        labels={
            **labels,
            "episode": np.array([e.id for e in episodes]),
            "item": catalog.item_ids[reference],
            "person": np.array([e.source_user for e in episodes]),
        },
    )


def _keywords(of: Mapping[str, Sequence[str]] | None, episodes: Sequence[str]) -> np.ndarray | None:
    return None if of is None else _padded([[*_given(of, e, "keywords")] for e in episodes], "")


def _given(texts: Mapping[str, Any], episode: str, what: str) -> Any:
    """Return the texts of an episode. Raises DataError if there are none."""
    if episode not in texts:
        raise DataError(f"{what} of every episode are wanted, got none of {episode!r}")
    return texts[episode]


def _padded(lists: Sequence[Sequence[Any]], filler: Any) -> np.ndarray:
    """Return a (B, longest) array of lists of different lengths, padded on the right."""
    table = pd.DataFrame(list(map(list, lists)))
    return table.fillna(filler).to_numpy(dtype=str if filler == "" else np.int64)
