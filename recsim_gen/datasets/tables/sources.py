"""Tables of any file type: a header, and columns that are checked when read."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from recsim_gen.datasets.files.tables import Table, column_names, read_table

SEPARATORS = (",", ";", "\t", "|")


class Source(Protocol):
    """A table: its location and the names of its columns."""

    @property
    def file(self) -> Path:
        """Its path, for messages."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All its files."""

    @property
    def header(self) -> list[str]:
        """Names of its columns."""

    def read(self, **columns: Any) -> Table:
        """Return the columns ``ids``, ``numbers`` and ``texts``, checked as by `read_table`."""


@dataclass(frozen=True)
class TextSource:
    """A file of separated values with a header line."""

    file: Path
    separator: str = ","

    @property
    def files(self) -> tuple[Path, ...]:
        """All its files."""
        return (self.file,)

    @cached_property
    def header(self) -> list[str]:
        """Names of its columns."""
        return column_names(self.file, self.separator)

    def read(self, **columns: Any) -> Table:
        """Return the columns ``ids``, ``numbers`` and ``texts``, checked as by `read_table`."""
        return read_table(self.file, **columns, separator=self.separator, longest=sys.maxsize)


def separator_of(file: Path) -> str:
    """Return the separator that splits the header into the most columns, a comma if none does."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as f:
            line = f.readline(2**20)
    except (OSError, UnicodeDecodeError):
        return ","  # reading it raises the error
    return max(SEPARATORS, key=lambda s: len(next(csv.reader([line], delimiter=s), [])))
