"""Users' own data: ``items.csv``, ``interactions.csv`` and images.

A row of ``items.csv`` is an item: its id, and optionally title, caption, category, image file and other
words. A row of ``interactions.csv`` is a choice: user and item, and optionally time and weight. Images are in
``images/`` (or ``images.tar``, ``.tar.gz``, ``.zip``, or several of these), named ``<id>.jpg`` or as in the
column of image files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.paths import first_existing
from recsim_gen.datasets.tables.columns import NONE
from recsim_gen.datasets.tables.folder import Folder
from recsim_gen.datasets.tables.layouts import missing
from recsim_gen.datasets.tables.sources import Source, TextSource, separator_of

ITEMS, INTERACTIONS = ("items.csv", "items.tsv"), ("interactions.csv", "interactions.tsv")


@dataclass(frozen=True)
class CsvFolder(Folder):
    """Settings of ``csv:DIR``; the separator of a table is detected from its header."""

    items: str | None = None  # file of the items; none: all chosen items; null: items.csv or items.tsv
    interactions: str | None = None  # file of the choices; null: interactions.csv or interactions.tsv

    name: ClassVar[str] = "csv"

    def items_table(self) -> Source | None:
        """Return the table of items; None with ``items: none``."""
        return None if self.items == NONE else self._table("items", self.items, ITEMS)

    def log_tables(self) -> Mapping[str, Source]:
        """Return the table of choices."""
        return {"": self._table("interactions", self.interactions, INTERACTIONS)}

    def _table(self, what: str, given: str | None, names: tuple[str, ...]) -> Source:
        file = first_existing(self.path, names) if given is None else self.path / given
        if file is None:
            error = missing(self.name, self.path, f"a table of {what}", " and ".join(names))
            remedy = f"{error.remedy}. A table of another name: --data-settings.{what} FILE"
            if what == "items":
                remedy += "; without such a table: --data-settings.items none"
            raise DataError(error.problem, file=error.file, remedy=remedy)
        if not file.is_file():
            raise DataError(
                f"a table of {what} is wanted, there is none", file=file, remedy=f"Correct {what}"
            )
        return TextSource(file, separator_of(file))
