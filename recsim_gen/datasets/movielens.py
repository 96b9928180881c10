"""MovieLens as published (ml-latest-small and larger), with posters if available.

Harper and Konstan, "The MovieLens Datasets: History and Context", TiiS 2015. The folder holds ``ratings.csv``
(userId, movieId, rating, timestamp) and ``movies.csv`` (movieId, title, genres).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.files.images import ImageFiles, open_images
from recsim_gen.datasets.files.paths import picture_store
from recsim_gen.datasets.files.tables import Table, natural_places, read_table
from recsim_gen.datasets.films import captions, first_genres
from recsim_gen.datasets.sequences import Choices, Tail, cut

POSTERS = ("posters_128.tar", "posters.tar", "posters")
NO_GENRES = "(no genres listed)"


def load(
    path: str | Path,
    *,
    sequence_length: int = 20,  # "sequences of 20 items"; each person gives as many full ones as possible
    tail: Tail = "train",  # remaining choices: kept as a shorter training user (train), or left out (drop)
    min_rating: float = 0.0,  # ratings below it are not choices
    posters: str | None = None,  # folder or tar of <movieId>.jpg; none: no posters; null: the data's own
) -> Dataset:
    """Load films, ratings and sequences from a MovieLens folder.

    Every film of ``movies.csv`` is an item. Ratings of at least ``min_rating`` are choices, with the rating
    as weight; ``sequence_length`` and ``tail`` as for ``sequences.cut``, ties in time ordered by movieId.
    ``posters`` is a folder or tar of ``<movieId>.jpg``; None takes the first of ``POSTERS`` in the folder,
    ``"none"`` leaves them out. Raises DataError for a file that is missing or has a bad row.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(
            "a MovieLens folder is wanted", file=folder, remedy="Unpack ml-latest-small.zip there"
        )
    films = read_table(folder / "movies.csv", ids=["movieId"], texts=["title", "genres"])
    ratings = read_table(folder / "ratings.csv", ids=["userId", "movieId"], numbers=["rating", "timestamp"])
    ratings.refuse_duplicates("userId", "movieId")
    ids = films.keys("movieId")
    reader = _images(folder, posters, ids)
    choices, notes = _choices(ratings, ids, films.file.name, min_rating)
    sequences = cut(choices, len(ids), length=sequence_length, tail=tail)
    image_notes = () if reader is None else _image_notes(reader, choices.item)
    return Dataset(
        name="movielens",
        catalog=_catalog(films, ids, reader),
        interactions=sequences.interactions,
        episodes=sequences.episodes,
        people=sequences.people,
        encoders={"text": "minilm"} if reader is None else {"image": "efficientnet-lite0", "text": "minilm"},
        notes=(*notes, *sequences.notes, *image_notes),
    )


def _catalog(films: Table, ids: np.ndarray, reader: ImageFiles | None) -> Catalog:
    titles, genres = films.texts("title"), films.texts("genres")
    genres = np.char.replace(np.where(genres == NO_GENRES, "", genres), "|", ", ")
    return Catalog(
        item_ids=ids,
        titles=titles,
        captions=captions(titles, genres),
        categories=first_genres(genres),
        images=reader,
    )


def _choices(
    ratings: Table, ids: np.ndarray, where: str, min_rating: float
) -> tuple[Choices, tuple[str, ...]]:
    """Return the ratings that count as choices, and sentences that count them."""
    person, people = ratings.ids("userId")
    item, rating = ratings.rows_of("movieId", ids, where), ratings.numbers("rating")
    time = ratings.numbers("timestamp")
    rated = len(np.unique(item))
    notes = [
        f"{len(item):,} ratings by {len(people):,} people; "
        f"{rated:,} of {len(ids):,} films rated, {len(ids) - rated:,} without a rating"
    ]
    keep = rating >= min_rating
    if not keep.all():
        notes.append(f"{(~keep).sum():,} ratings below {min_rating:g} left out (min_rating)")
        person, item, time, rating = (a[keep] for a in (person, item, time, rating))
    return Choices(person, people, item, time, rating, tie=natural_places(ids)[item]), tuple(notes)


def _images(folder: Path, posters: str | None, ids: np.ndarray) -> ImageFiles | None:
    if posters == "none":
        return None
    if posters is not None:
        return open_images(Path(posters).expanduser(), ids)
    store = picture_store(folder, POSTERS)
    return None if store is None else open_images(store, ids)


def _image_notes(reader: ImageFiles, item: np.ndarray) -> tuple[str, ...]:
    missing = ~reader.present
    notes = []
    if missing.any():
        notes.append(
            f"{missing.sum():,} films without poster ({missing[item].sum():,} ratings): "
            "mean image feature, flagged as absent"
        )
    if reader.unmatched:
        notes.append(f"{reader.unmatched:,} posters not used: movies.csv lists no such film")
    return tuple(notes)
