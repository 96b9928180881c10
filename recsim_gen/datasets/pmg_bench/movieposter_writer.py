"""Writes any dataset as PMG-Bench's ``movieposter`` folder."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from recsim_gen.core.progress import bar
from recsim_gen.core.store import atomic
from recsim_gen.core.types import Dataset, ImageReader
from recsim_gen.datasets.files.tables import natural_places
from recsim_gen.datasets.pmg_bench.movieposter import (
    IMAGES,
    INFO,
    RATINGS,
    STYLE,
    TARGET,
    VALIDATION,
    MoviePosters,
)
from recsim_gen.datasets.writing import by_person, plain_ids

_NUMBER = r"0|[1-9]\d{0,17}"  # keys of the pickles are whole numbers


def write_pmg_movieposter(dataset: Dataset, folder: str | Path) -> tuple[str, ...]:
    """Write ``info.csv``, ``ratings.csv``, the pickles and ``my_valid_data.txt``, atomically.

    A weight becomes a rating, a person a userId, a category a genre, an episode a line of
    ``my_valid_data.txt`` (history by rating, then timestamp, descending). All images are in memory at once,
    since the layout puts them into one pickle. Returns sentences about what the layout cannot represent. Read
    back by ``movieposter.load``, everything else is equal.
    """
    ids, renamed = plain_ids(dataset.catalog.item_ids, _NUMBER)
    order, people, left = by_person(dataset)
    with atomic(folder) as place:
        place.mkdir(parents=True)
        _tables(dataset, ids, order, people, place)
        keys = [int(item) for item in ids.tolist()]
        target = dataset.catalog.captions
        style = dataset.style_captions if isinstance(dataset, MoviePosters) else target
        for name, captions in ((TARGET, target), (STYLE, style)):
            _dump(place / name, dict(zip(keys, captions.tolist(), strict=True)))
        if dataset.catalog.images is not None:
            _dump(place / IMAGES, _pixels(dataset.catalog.images, keys))
        if dataset.episodes:
            (place / VALIDATION).write_text("\n".join(_lines(dataset, ids)), encoding="utf-8")
    return (*renamed, *left)


def _tables(dataset: Dataset, ids: np.ndarray, order: np.ndarray, people: np.ndarray, place: Path) -> None:
    import pandas as pd

    catalog, chosen = dataset.catalog, dataset.interactions
    films = {"id": ids, "name": catalog.titles, "genre": catalog.categories}
    ratings = {
        "userId": people,
        "movieId": ids[chosen.item[order]],
        "rating": chosen.weight[order],
        "timestamp": _whole(chosen.time[order]),
    }
    pd.DataFrame(films).to_csv(place / INFO, index=False)
    pd.DataFrame(ratings).to_csv(place / RATINGS, index=False)


def _whole(time: np.ndarray) -> np.ndarray:
    """Return times as ints if all are whole seconds: ``964982703``, not ``964982703.0``."""
    small = np.abs(time) < 2**53
    return time.astype(np.int64) if small.all() and (time == np.rint(time)).all() else time


def _dump(file: Path, values: dict[int, str] | dict[int, np.ndarray]) -> None:
    with file.open("wb") as f:
        pickle.dump(values, f, protocol=4)


def _pixels(images: ImageReader, keys: list[int]) -> dict[int, np.ndarray]:
    rows = np.flatnonzero(images.present).tolist()
    return {
        keys[row]: np.asarray(images.read(row), dtype=np.uint8)
        for row in bar(rows, "decoding pictures", unit="pictures")
    }


def _lines(dataset: Dataset, ids: np.ndarray) -> list[str]:
    """Return ``id;id;…,target`` of each episode, best-liked item first."""
    chosen, episodes = dataset.interactions, dataset.episodes
    length = np.array([len(e.history) for e in episodes])
    episode = np.repeat(np.arange(len(episodes)), length)
    item = np.concatenate([e.history for e in episodes])
    user = np.array([e.user for e in episodes])[episode]
    pairs = chosen.user * chosen.n_items + chosen.item
    by_pair = np.argsort(pairs)
    row = by_pair[np.searchsorted(pairs[by_pair], user * chosen.n_items + item)]
    late = np.lexsort((-natural_places(ids)[item], -chosen.time[row], -chosen.weight[row], episode))
    histories = np.split(ids[item[late]], np.cumsum(length)[:-1])
    return [f"{';'.join(h)},{ids[e.reference]}" for h, e in zip(histories, episodes, strict=True)]
