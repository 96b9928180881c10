"""Errors that a user of the library can act on.

Every message says what was wanted, what was got, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class RecsimError(Exception):
    """Base of all errors raised on purpose; commands print it without a traceback."""


class RecsimWarning(UserWarning):
    """Something was left undone that costs no result."""


class SettingError(RecsimError):
    """A setting is unknown or out of range."""


class MissingDependency(RecsimError):
    """An optional package or its weights are not installed."""


class DataError(RecsimError):
    """Input data cannot be used as it is.

    Parameters
    ----------
    problem: what was wanted and what was got.
    file: the file at fault, if there is one.
    row: 1-based line of the file (or a name of the row), if there is one.
    remedy: what the reader can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.file, self.row, self.remedy = problem, file, row, remedy
        where = "" if file is None else f"{file}" + ("" if row is None else f", row {row}") + ": "
        super().__init__(where + problem + ("" if remedy is None else f". {remedy}"))
