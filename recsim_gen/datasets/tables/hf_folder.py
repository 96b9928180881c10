"""Tables in parquet files or in folders that ``datasets`` wrote: ``items`` and ``interactions``.

Each is a file ``items.parquet`` or a folder ``items/`` of parquet files or written by ``save_to_disk``; files
or folders ``train``, ``validation`` and ``test`` of the choices define the split. Images are in a column of
the items (an ``Image`` of ``datasets``, bytes, or paths) or beside the tables, as for ``csv:DIR``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.images import ImageFiles, list_members
from recsim_gen.datasets.files.json_files import Fields, read_json
from recsim_gen.datasets.files.zips import tar_of
from recsim_gen.datasets.tables.arrow_source import ArrowSource
from recsim_gen.datasets.tables.columns import NONE
from recsim_gen.datasets.tables.folder import Folder
from recsim_gen.datasets.tables.items import Items
from recsim_gen.datasets.tables.layouts import missing
from recsim_gen.datasets.tables.log import split_named
from recsim_gen.datasets.tables.pictures import Pictures
from recsim_gen.datasets.tables.sources import Source

ITEMS, INTERACTIONS = "items", "interactions"
SUFFIXES = (".parquet", ".arrow")
STATE = "state.json"  # written by save_to_disk: names of the files, in order


@dataclass(frozen=True)
class HfFolder(Folder):
    """Settings of ``hf:DIR``."""

    items: str | None = None  # file or folder of the items; none: all chosen items; null: items*
    interactions: str | None = None  # file or folder of the choices; null: interactions*

    name: ClassVar[str] = "hf"

    def items_table(self) -> Source | None:
        """Return the table of items; None with ``items: none``."""
        if self.items == NONE:
            return None
        files = [file for part in self._found(ITEMS, self.items).values() for file in part]
        return self._source(files, ITEMS)

    def log_tables(self) -> Mapping[str, Source]:
        """Return the table of choices, or one per split."""
        found = self._found(INTERACTIONS, self.interactions)
        splits = {"": [f for files in found.values() for f in files]} if len(found) == 1 else found
        return {split: self._source(files, INTERACTIONS) for split, files in splits.items()}

    def pictures(self, items: Items) -> Pictures:
        """Return the images in the table, else those beside it."""
        table, column = self.items_table(), items.image_column
        if self.images is not None or column is None or not isinstance(table, ArrowSource):
            return super().pictures(items)
        if not table.holds_pictures(column):
            return super().pictures(items)
        tar = tar_of(table.files, f"pictures in {column}", lambda: table.pictures(column))
        members = [replace(member, stem=str(items.ids[int(member.stem)])) for member in list_members(tar)]
        reader = ImageFiles(members, items.ids)
        missing_ones = int((~reader.present).sum())
        counted = (f"{missing_ones:,} items without picture in column {column}",) if missing_ones else ()
        note = f"{len(members):,} pictures in column {column} of {table.file.name}"
        return Pictures(reader if members else None, (), counted, (note,))

    def _source(self, files: list[Path], what: str) -> ArrowSource:
        return ArrowSource(files[0] if len(files) == 1 else self.path / what, tuple(files))

    def _found(self, what: str, given: str | None) -> dict[str, list[Path]]:
        """Return {split: files} of a table, "" for files without a split."""
        pattern = re.compile(rf"{re.escape(given or what)}(-\d+-of-\d+)?(\.parquet|\.arrow)?")
        places = sorted(path for path in self.path.iterdir() if pattern.fullmatch(path.name))
        files = [file for place in places for file in _files(place)]
        if not files:
            looked_for = f"{what}.parquet and {what}/ with parquet files or what save_to_disk wrote"
            error = missing(self.name, self.path, f"a table of {what}", looked_for)
            remedy = f"{error.remedy}. One of another name: --data-settings.{what} NAME"
            raise DataError(error.problem, file=error.file, remedy=remedy)
        splits: dict[str, list[Path]] = {}
        for file in files:
            splits.setdefault(_split(file), []).append(file)
        if len(splits) > 1 and "" in splits:
            problem = f"{splits[''][0].name} is of no split, {len(files) - len(splits[''])} other files are"
            raise DataError(
                problem, file=self.path / what, remedy="Call files train, validation or test, or none"
            )
        return splits


def _files(place: Path) -> list[Path]:
    """Return the files of a table, in order, without cached results of ``datasets``."""
    if place.is_file():
        return [place] if place.suffix in SUFFIXES else []
    states = sorted(place.rglob(STATE))
    if states:
        return [file for state in states for file in _saved(state)]
    files = sorted(file for file in place.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    return [file for file in files if not file.name.startswith((".", "cache-", "tmp"))]


def _saved(state: Path) -> list[Path]:
    """Return the files that ``save_to_disk`` lists, in its order."""
    fields = Fields.of(read_json(state), state, "top level")
    if fields.values.get("_indices_data_files"):
        raise DataError(
            "rows are kept in another order (an index), which old versions of datasets wrote",
            file=state,
            remedy="Load it by datasets and save it again: flatten_indices().save_to_disk()",
        )
    names = [data.get("filename") for data in fields.values.get("_data_files", []) if isinstance(data, dict)]
    files = [state.parent / Path(name).name for name in names if isinstance(name, str)]
    absent = [file for file in files if not file.is_file()]
    if not files or absent:
        problem = f"{absent[0].name} is listed and not there" if absent else "no file is listed"
        raise DataError(problem, file=state, remedy="Save the data again by save_to_disk")
    return files


def _split(file: Path) -> str:
    return split_named(file.parent.name) or split_named(re.split(r"[-_.]", file.name)[0]) or ""
