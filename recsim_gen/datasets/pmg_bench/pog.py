"""PMG-Bench, fashion: POG with image captions and images.

The folder holds ``item_data.csv`` (item_id, cate_id, title, desc), ``outfit_data.csv`` (outfit_id, item_ids),
``user_data.csv`` (user_id, item_history, outfit_history), ``captions.json`` {item id: caption} and
``images.tar.gz`` (or ``images.tar``, or ``images``) of ``<item id>.<suffix>``. Ids are text: ``"007"`` is not
``"7"``. Lists of ids are separated by ``;``, commas or spaces, with or without brackets.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.described import captions_beside, described, missing_images
from recsim_gen.datasets.files.images import ImageFiles, open_images
from recsim_gen.datasets.files.names import clean_name, likely
from recsim_gen.datasets.files.paths import picture_store
from recsim_gen.datasets.files.tables import Table, read_table
from recsim_gen.datasets.sequences import Choices, Tail, cut, whole

ITEMS, OUTFITS, USERS, CAPTIONS = "item_data.csv", "outfit_data.csv", "user_data.csv", "captions.json"
IMAGES = ("images.tar.gz", "images.tar", "images")
LONGEST_LIST = 10**6  # characters of a history: a few thousand ids of 32 letters
_ID = r"[^\s;,\[\]()'\"]+"

Unknown = Literal["refuse", "drop"]
"""Treatment of ids that no table lists: an error that names the row, or left out and counted."""


def load(
    path: str | Path,
    *,
    sequence_length: int | None = None,  # choices per sequence; null: one sequence per person
    tail: Tail = "train",  # remaining choices: kept as a shorter training user (train), or left out (drop)
    unknown: Unknown = "refuse",  # ids that no table lists: an error, or left out and counted
) -> Dataset:
    """Load items, choices and episodes from PMG-Bench's ``pog_dataset`` folder.

    ``item_history`` is oldest first; of a repeated item the last place counts, so no reference is in its own
    history. A person is one sequence, see ``sequences.whole``; with a ``sequence_length`` histories are cut,
    see ``sequences.cut``. Outfits are checked and counted, but not used, since their time is unknown. Raises
    DataError for a missing file, a bad row, or an id that is not in its table (``unknown="refuse"``).
    """
    if unknown not in get_args(Unknown):
        raise SettingError(f"unknown must be one of {', '.join(get_args(Unknown))}, got {unknown!r}")
    folder = Path(path)
    items = read_table(folder / ITEMS, ids=["item_id", "cate_id"], texts=["title", "desc"])
    outfits = _lists(folder / OUTFITS, "outfit_id", "item_ids", may_be_empty=True)
    users = _lists(folder / USERS, "user_id", "item_history", "outfit_history")
    ids = items.keys("item_id")
    reader = _Lists(unknown)
    choices = _choices(users, ids, reader)
    sequences = (
        whole(choices, len(ids))
        if sequence_length is None
        else cut(choices, len(ids), length=sequence_length, tail=tail)
    )
    outfit_notes = _outfits(outfits, users, ids, reader)
    place = picture_store(folder, IMAGES)
    images = None if place is None else open_images(place, ids)
    catalog, notes = _catalog(items, ids, images, folder)
    return Dataset(
        name="pmg-pog",
        catalog=catalog,
        interactions=sequences.interactions,
        episodes=sequences.episodes,
        people=sequences.people,
        encoders={"text": "minilm"} if images is None else {"image": "efficientnet-lite0", "text": "minilm"},
        notes=(
            f"{len(choices.item):,} choices by {len(choices.people):,} people, {len(ids):,} items",
            *reader.notes,
            *sequences.notes,
            *outfit_notes,
            *_image_notes(images),
            *notes,
        ),
    )


def _lists(file: Path, key: str, *columns: str, may_be_empty: bool = False) -> Table:
    return read_table(file, ids=[key], texts=columns, longest=LONGEST_LIST, may_be_empty=may_be_empty)


class _Lists:
    """Reads columns of id lists; ``notes`` count what was left out."""

    def __init__(self, unknown: Unknown) -> None:
        self.unknown = unknown
        self.notes: list[str] = []

    def read(self, table: Table, column: str, known: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the (k,) row of the table and the (k,) place in ``known`` (n,) of each id of the column."""
        import pandas as pd

        ids = table.frame[column].str.findall(_ID)
        row = np.repeat(np.arange(len(table)), ids.str.len().to_numpy(dtype=np.int64))
        named = np.array([*map(clean_name, chain.from_iterable(ids))], dtype=object)
        place = pd.Index(known.astype(object)).get_indexer(pd.Index(named)).astype(np.int64)
        lost = place < 0
        if not lost.any():
            return row, place
        strange = list(dict.fromkeys(named[lost].tolist()))
        hint = likely(strange, known.tolist())
        if self.unknown == "refuse":
            ways = "or write ids alike" if hint else "or set unknown=drop to leave such ids out"
            table.refuse(
                np.bincount(row[lost], minlength=len(table)) > 0,
                lambda i: f"{column} {str(strange[0])!r} is not in {where}{hint}",
                f"Add it to {where}, {ways}",
            )
        times = f", named {lost.sum():,} times," if lost.sum() > len(strange) else ""
        self.notes.append(
            f"{len(strange):,} ids of {column}{times} left out: not in {where} (unknown=drop){hint}"
        )
        return row[~lost], place[~lost]


def _choices(users: Table, ids: np.ndarray, reader: _Lists) -> Choices:
    """Return each item of each person once, at its last place; a person's rows are consecutive."""
    import pandas as pd

    code, people = users.ids("user_id")
    row, item = reader.read(users, "item_history", ids, ITEMS)
    frame = pd.DataFrame({"person": code[row], "item": item})
    frame = frame.iloc[np.argsort(frame["person"].to_numpy(), kind="stable")]
    again = frame.duplicated(keep="last").to_numpy()
    if again.any():
        reader.notes.append(f"{again.sum():,} items that stand again in a history: the last place counts")
    frame = frame[~again]
    left, person = np.unique(frame["person"].to_numpy(), return_inverse=True)
    if len(left) == 0:
        raise DataError(f"histories with items of {ITEMS} are wanted, got none", file=users.file)
    if idle := len(people) - len(left):
        reader.notes.append(f"{idle:,} people without an item in their history left out")
    people, item = people[left], frame["item"].to_numpy()
    place = frame.groupby("person").cumcount().to_numpy()
    return Choices(person, people, item, place.astype(np.float64), np.ones(len(item)), tie=place)


def _outfits(outfits: Table, users: Table, ids: np.ndarray, reader: _Lists) -> tuple[str, ...]:
    """Check outfits and their users; return notes."""
    if len(outfits) == 0:
        return ()
    names = outfits.keys("outfit_id")
    _, member = reader.read(outfits, "item_ids", ids, ITEMS)
    worn, _ = reader.read(users, "outfit_history", names, OUTFITS)
    items = len(np.unique(member))
    return (f"{len(names):,} outfits of {items:,} items, chosen {len(worn):,} times: not learned from",)


def _catalog(
    items: Table, ids: np.ndarray, images: ImageFiles | None, folder: Path
) -> tuple[Catalog, tuple[str, ...]]:
    """Return the items, and notes on their captions."""
    titles, descriptions = items.texts("title"), items.texts("desc")
    titles = np.where(titles == "", np.char.add("item ", ids), titles)
    captions = captions_beside(folder, (CAPTIONS,))
    otherwise = np.where(descriptions == "", titles, descriptions)
    words = described([captions.get(item, "") for item in ids.tolist()], otherwise)
    notes = () if captions else (f"no {CAPTIONS}: titles and descriptions instead",)
    if unused := len(captions.keys() - set(ids.tolist())):
        notes = (f"{unused:,} captions not used: {ITEMS} lists no such item",)
    categories = items.frame["cate_id"].to_numpy(dtype=str)
    return Catalog(ids, titles, words.captions, categories, images), (*notes, *words.notes)


def _image_notes(images: ImageFiles | None) -> tuple[str, ...]:
    if images is None:
        return (f"no {IMAGES[0]}: text only",)
    unused = images.unmatched
    return missing_images(images.present) + (
        (f"{unused:,} pictures not used: {ITEMS} lists no such item",) if unused else ()
    )
