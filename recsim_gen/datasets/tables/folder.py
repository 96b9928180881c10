"""A folder of tables and images as a dataset; subclasses define the kinds of files.

People are not cut into sequences: each is a user, whose choices are ordered by time, or by rows if there are
no times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.files.images import ImageFiles
from recsim_gen.datasets.files.tables import natural_places
from recsim_gen.datasets.sequences import whole
from recsim_gen.datasets.tables.columns import ITEM_ROLES, LOG_ROLES, NONE, assign
from recsim_gen.datasets.tables.items import Items, bare_items, read_items
from recsim_gen.datasets.tables.layouts import missing
from recsim_gen.datasets.tables.log import Log, LogReader, Unknown
from recsim_gen.datasets.tables.pictures import Pictures, open_pictures, stores
from recsim_gen.datasets.tables.sources import Source


@dataclass(frozen=True)
class Folder:
    """Settings that all kinds of tables have; `dataset` loads them."""

    path: Path
    images: str | None = None  # folder or archive of images, several separated by commas; none: no images
    words: str = ""  # columns of the items to append to captions made of title and category
    min_weight: float | None = None  # rows with a lower weight are not choices; null: those with weight ≤ 0
    unknown: Unknown = "refuse"  # choices of unknown items: an error (refuse), or left out and counted (drop)
    id_column: str | None = None  # items: ids; null here and below: found by common names
    title_column: str | None = None  # items: titles; none here and below: not used
    caption_column: str | None = None  # items: what the image shows
    category_column: str | None = None  # items: categories
    image_column: str | None = None  # items: image files; without such a column images are <id>.jpg
    user_column: str | None = None  # choices: users
    item_column: str | None = None  # choices: item ids
    time_column: str | None = None  # choices: times, numbers or ISO dates; none: the order of the rows
    weight_column: str | None = None  # choices: ratings or counts
    split_column: str | None = None  # choices: train, valid or test; none: each user's last choice is test

    name: ClassVar[str]

    def items_table(self) -> Source | None:
        """Return the table of items, None if there is none; raises DataError if a required one is missing."""
        raise NotImplementedError

    def log_tables(self) -> Mapping[str, Source]:
        """Return {split: table of choices}; a single one with split "" if the files have no splits."""
        raise NotImplementedError

    def pictures(self, items: Items) -> Pictures:
        """Return the images of the items, in stores beside the tables or in the files that the items name."""
        if self.images == NONE:
            return Pictures(None)
        return open_pictures(self.path, stores(self.path, self.images), items.ids, items.images)

    def people(self, chose: np.ndarray) -> tuple[tuple[str, ...], tuple[Path, ...]]:
        """Return notes about a table of people, compared with those who ``chose`` (p,), and its files."""
        return (), ()

    def dataset(self) -> Dataset:
        """Load the dataset. Raises DataError for unreadable files, SettingError for an unknown column."""
        if not self.path.is_dir():
            raise missing(self.name, self.path)
        logs, table = self.log_tables(), self.items_table()
        items = self._bare(logs) if table is None else self._items(table)
        log = self._log(logs, items, "the choices" if table is None else table.file.name)
        pictures = self.pictures(items)
        sequences = whole(log.choices, len(items.ids), split=log.split)
        tables = [*logs.values(), *([table] if table else [])]
        people, more = self.people(log.choices.people)
        read = [*(file for source in tables for file in source.files), *more]
        left = self._left_aside(read, pictures.stores)
        return Dataset(
            name=self.name,
            catalog=Catalog(items.ids, items.titles, items.captions, items.categories, pictures.reader),
            interactions=sequences.interactions,
            episodes=sequences.episodes,
            people=sequences.people,
            encoders=_encoders(pictures.reader),
            notes=(
                *pictures.defects,
                *log.defects,
                *items.defects,
                *_wordless(items),
                *items.notes,
                *log.notes,
                *people,
                *pictures.notes,
                *sequences.notes,
                *left,
            ),
        )

    def _items(self, table: Source) -> Items:
        columns = {role: getattr(self, f"{role}_column") for role in ITEM_ROLES}
        return read_items(table, columns, [w.strip() for w in self.words.split(",") if w.strip()])

    def _log(self, tables: Mapping[str, Source], items: Items, where: str) -> Log:
        columns = {role: getattr(self, f"{role}_column") for role in LOG_ROLES}
        return LogReader(items.ids, where, columns, self.min_weight, self.unknown).read(tables)

    def _left_aside(self, tables: Sequence[Path], read: Sequence[Path]) -> tuple[str, ...]:
        """Return a sentence about files in the folder that were not read."""
        names = {path.relative_to(self.path).parts[0] for path in tables if path.is_relative_to(self.path)}
        names |= {path.name for path in read}
        rest = [p for p in sorted(self.path.iterdir()) if p.name not in names and not p.name.startswith(".")]
        shown = [p.name + ("/" if p.is_dir() else "") for p in rest]
        return (f"left aside in {self.path.name}/: {', '.join(shown)}",) if shown else ()

    def _bare(self, tables: Mapping[str, Source]) -> Items:
        """Return the items that were chosen, if no table lists items."""
        names = []
        for source in tables.values():
            column = assign(source.header, LOG_ROLES, {"item": self.item_column}, source.file)["item"]
            names.append(source.read(ids=[column]).ids(column)[1])
        ids = np.unique(np.concatenate(names))
        return bare_items(ids[np.argsort(natural_places(ids))], "no table of items: those that were chosen")


def _encoders(reader: ImageFiles | None) -> dict[str, str]:
    text = {"text": "minilm"}
    return text if reader is None else {"image": "efficientnet-lite0", **text}


def _wordless(items: Items) -> tuple[str, ...]:
    if not items.wordless:
        return ()
    return ("no item has a title, caption or category: text features tell nothing (--encoders.text none)",)
