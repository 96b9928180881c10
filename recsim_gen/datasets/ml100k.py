"""MovieLens-100k as contained in RecBole's wheel: text only, no images.

Harper and Konstan, "The MovieLens Datasets: History and Context", TiiS 2015; in RecBole's atomic files
``ml-100k.inter`` and ``ml-100k.item``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.files.tables import Table, natural_places, read_table
from recsim_gen.datasets.films import captions, first_genres
from recsim_gen.datasets.sequences import Choices, Tail, cut

USER, ITEM, RATING, TIME = "user_id:token", "item_id:token", "rating:float", "timestamp:float"
TITLE, YEAR, GENRES = "movie_title:token_seq", "release_year:token", "class:token_seq"
UNKNOWN = "unknown"


def load(
    path: str | Path | None = None,
    *,
    sequence_length: int = 20,  # choices per sequence; each person gives as many full sequences as possible
    tail: Tail = "train",  # remaining choices: kept as a shorter training user (train), or left out (drop)
) -> Dataset:
    """Load 100,000 ratings by 943 people of 1,682 films; titles, years and genres as text.

    ``path`` is a folder with the two files; None takes RecBole's own. ``sequence_length`` and ``tail`` as for
    ``sequences.cut``, ties in time ordered by item id. Raises MissingDependency if RecBole is not installed,
    DataError for a bad row.
    """
    folder = _inside_recbole() if path is None else Path(path)
    films = _read(folder / "ml-100k.item", ids=[ITEM], texts=[TITLE, YEAR, GENRES])
    ratings = _read(folder / "ml-100k.inter", ids=[USER, ITEM], numbers=[RATING, TIME])
    ratings.refuse_duplicates(USER, ITEM)
    ids = films.keys(ITEM)
    person, people = ratings.ids(USER)
    item = ratings.rows_of(ITEM, ids, films.file.name)
    choices = Choices(
        person, people, item, ratings.numbers(TIME), ratings.numbers(RATING), tie=natural_places(ids)[item]
    )
    sequences = cut(choices, len(ids), length=sequence_length, tail=tail)
    counted = (
        f"{len(ratings):,} ratings by {len(people):,} people of {len(ids):,} films; no pictures, text only"
    )
    return Dataset(
        name="ml-100k",
        catalog=_catalog(films, ids),
        interactions=sequences.interactions,
        episodes=sequences.episodes,
        people=sequences.people,
        encoders={"text": "minilm"},
        notes=(counted, *sequences.notes),
    )


def _read(file: Path, **columns: Any) -> Table:
    return read_table(file, **columns, separator="\t", quoted=False)


def _catalog(films: Table, ids: np.ndarray) -> Catalog:
    names, years, genres = (films.texts(column) for column in (TITLE, YEAR, GENRES))
    is_year = np.char.isdigit(years)  # two of the published rows have a word instead
    dated = np.char.add(np.char.add(np.char.add(names, " ("), years), ")")
    titles = np.where(is_year, dated, names)
    genres = np.char.replace(np.where(genres == UNKNOWN, "", genres), " ", ", ")
    return Catalog(ids, titles, captions(titles, genres), first_genres(genres))


def _inside_recbole() -> Path:
    spec = find_spec("recbole")  # finds the folder without importing the package
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "dataset_example" / "ml-100k"
        if folder.is_dir():
            return folder
    if spec is None:
        raise MissingDependency(
            "data 'ml-100k' ships inside RecBole, which is not installed. pip install recbole"
        )
    raise DataError("this RecBole has no dataset_example/ml-100k", remedy="pip install recbole==1.2.1")
