"""Tables to read, whatever their files: a header, and columns that are checked when they are read."""

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
    """A table: where it lies and what its columns are called."""

    @property
    def file(self) -> Path:
        """Where it lies, for messages."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All its files."""

    @property
    def header(self) -> list[str]:
        """Names of its columns."""

    def read(self, **columns: Any) -> Table:
        """Return ``ids``, ``numbers`` and ``texts``, names of columns, checked as `read_table` does."""


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
        """Return ``ids``, ``numbers`` and ``texts``, names of columns, checked as `read_table` does."""
        return read_table(self.file, **columns, separator=self.separator, longest=sys.maxsize)


def separator_of(file: Path) -> str:
    """Return the separator that parts the header line into the most columns, a comma if none does."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as f:
            line = f.readline(2**20)
    except (OSError, UnicodeDecodeError):
        return ","  # who reads it tells what is wrong
    return max(SEPARATORS, key=lambda s: len(next(csv.reader([line], delimiter=s), [])))
