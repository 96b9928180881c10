"""PMG-Bench, film posters: MovieLens with posters and two captions per film.

The folder holds ``info.csv`` (id, name, genre), ``ratings.csv`` (userId, movieId, rating, timestamp),
``target_captions.pkl`` (content of the poster) and ``style_captions.pkl`` (its look), ``image_data.pkl``, and
optionally ``my_valid_data.txt`` with published test episodes. The pickles are read as data, see ``pickles``:
no code in them runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.described import described, missing_images
from recsim_gen.datasets.files.tables import Table, natural_places, read_table
from recsim_gen.datasets.films import captions, first_genres
from recsim_gen.datasets.movielens import NO_GENRES
from recsim_gen.datasets.pmg_bench.captions import captions_in
from recsim_gen.datasets.pmg_bench.pickled_images import PickledImages
from recsim_gen.datasets.pmg_bench.validation import Line, explains, published, read_lines
from recsim_gen.datasets.sequences import Choices, Sequences, Tail, cut, whole

INFO, RATINGS, IMAGES, VALIDATION = "info.csv", "ratings.csv", "image_data.pkl", "my_valid_data.txt"
TARGET, STYLE = "target_captions.pkl", "style_captions.pkl"

LENGTH = 20  # "sequences of 20 items"

Length = int | Literal["published"] | None
"""Choices per sequence: a number, the rule of the published episodes, or all of a person (None)."""

Order = Literal["time", "rating"]
"""Order of a sequence: by time, or (PMG-Bench's recommendation) by rating, then time."""

Episodes = Literal["published", "sequences"]
"""Source of episodes: ``my_valid_data.txt`` if present, or the end of every sequence."""


@dataclass(frozen=True, eq=False)
class MoviePosters(Dataset):
    """The dataset; its captions are the target captions, with the style captions in addition.

    ``style_captions`` (n,) str, empty if a film has none.
    """

    style_captions: np.ndarray = field(kw_only=True)


def load(
    path: str | Path,
    *,
    sequence_length: Length = "published",  # choices per sequence; published: as in its episodes; null: all
    tail: Tail = "train",  # remaining choices: kept as a shorter training user (train), or left out (drop)
    order: Order = "time",  # order of the choices in a sequence
    episodes: Episodes = "published",  # from the lines of my_valid_data.txt, or the ends of sequences
) -> MoviePosters:
    """Load films, ratings, sequences and episodes from PMG-Bench's ``movieposter`` folder.

    Ratings are choices, cut into sequences of ``sequence_length`` (see ``sequences.cut``; None: a person is
    one sequence; ``"published"``: the rule under which the published episodes are sequences, 20 if there is
    none). ``order="time"``: oldest first, ties ordered by movieId; ``"rating"``: PMG-Bench's history order
    (rating, then timestamp, descending) reversed, so that the best-liked item is the test item; ``time`` is
    then the place in that order. Missing captions and images are counted; films without a caption use name
    and genre. Raises DataError for a file that is missing, broken or rejected, and for a bad row.
    """
    for name, value, known in (("order", order, Order), ("episodes", episodes, Episodes)):
        if value not in get_args(known):
            raise SettingError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
    folder = Path(path)
    films = read_table(folder / INFO, ids=["id"], texts=["name", "genre"])
    ratings = read_table(folder / RATINGS, ids=["userId", "movieId"], numbers=["rating", "timestamp"])
    ratings.refuse_duplicates("userId", "movieId")
    ids = films.keys("id")
    choices, counted = _choices(ratings, ids, order)
    lines: Sequence[Line] = ()
    if episodes == "published" and (folder / VALIDATION).exists():
        lines = read_lines(folder / VALIDATION, ids, INFO)
    sequences = _sequences(choices, len(ids), lines, sequence_length, tail)
    reader = PickledImages(folder / IMAGES, ids) if (folder / IMAGES).exists() else None
    catalog, notes = _catalog(films, ids, reader, folder / TARGET)
    style, styled = _of(folder / STYLE, ids)
    return MoviePosters(
        name="pmg-movieposter",
        catalog=catalog,
        interactions=sequences.interactions,
        episodes=sequences.episodes,
        people=sequences.people,
        encoders={"text": "minilm"} if reader is None else {"image": "efficientnet-lite0", "text": "minilm"},
        notes=(counted, *sequences.notes, *_image_notes(reader), *notes, *styled),
        style_captions=style,
    )


def _choices(ratings: Table, ids: np.ndarray, order: Order) -> tuple[Choices, str]:
    person, people = ratings.ids("userId")
    item, rating = ratings.rows_of("movieId", ids, INFO), ratings.numbers("rating")
    time, tie = ratings.numbers("timestamp"), natural_places(ids)[item]
    counted = (
        f"{len(item):,} ratings by {len(people):,} people of {len(np.unique(item)):,} of {len(ids):,} films"
    )
    if order == "rating":
        late = np.lexsort((tie, time, rating))
        time = np.empty(len(item))
        time[late] = np.arange(len(item))
    return Choices(person, people, item, time, rating, tie), counted


def _sequences(
    choices: Choices,
    n_items: int,
    lines: Sequence[Line],
    length: Length,
    tail: Tail,
) -> Sequences:
    """Return the choices as sequences; the published lines are the episodes if there are any."""
    if length == "published":
        for candidate in _lengths(lines, int(np.bincount(choices.person).max())):
            made = _sequences(choices, n_items, (), candidate, tail)
            if explains(made, lines):
                return published(made, lines)
        length = LENGTH
    made = whole(choices, n_items) if length is None else cut(choices, n_items, length=length, tail=tail)
    return published(made, lines) if lines else made


def _lengths(lines: Sequence[Line], longest: int) -> Iterator[int | None]:
    """Yield the sequence lengths under which these lines may be sequences: their common one, and None."""
    lengths = {len(line.history) + 1 for line in lines}
    if len(lengths) == 1 and 3 <= max(lengths) <= longest:
        yield from lengths
    if lines:
        yield None


def _catalog(
    films: Table, ids: np.ndarray, reader: PickledImages | None, file: Path
) -> tuple[Catalog, tuple[str, ...]]:
    """Return the films, and notes on their captions."""
    names, genres = films.texts("name"), films.texts("genre")
    names = np.where(names == "", np.char.add("film ", ids), names)
    genres = np.char.replace(np.where(genres == NO_GENRES, "", genres), "|", ", ")
    own, notes = _of(file, ids)
    words = described(own.tolist(), captions(names, genres))
    return Catalog(ids, names, words.captions, first_genres(genres), reader), (*notes, *words.notes)


def _of(file: Path, ids: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the (n,) str captions of the items, empty if there is none, and a note on unused ones."""
    if not file.exists():
        return np.full(len(ids), ""), (f"no {file.name}",)
    captions_of = captions_in(file)
    own = np.array([captions_of.get(item, "") for item in ids.tolist()], dtype=str)
    unused = len(set(captions_of) - set(ids.tolist()))
    return own, (f"{unused:,} captions not used: {INFO} lists no such film",) if unused else ()


def _image_notes(reader: PickledImages | None) -> tuple[str, ...]:
    if reader is None:
        return (f"no {IMAGES}: text only",)
    if not reader.present.any():
        raise DataError(f"no picture is of a film of {INFO}", file=IMAGES, remedy="Are they of other data?")
    unused = reader.unmatched
    return missing_images(reader.present, "films") + (
        (f"{unused:,} posters not used: {INFO} lists no such film",) if unused else ()
    )
