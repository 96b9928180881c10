"""Errors that a user of the library can act on.

Every message says what was expected, what was given, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class RecsimError(Exception):
    """Base class of all errors raised on purpose; commands print them without a traceback."""


class RecsimWarning(UserWarning):
    """Something was skipped; results are not affected."""


class SettingError(RecsimError):
    """A setting is unknown or out of range."""


class MissingDependency(RecsimError):
    """An optional package or the weights of a model are missing."""


class DataError(RecsimError):
    """Input data cannot be used as it is.

    Parameters
    ----------
    problem
        What was expected and what was given.
    file
        The file at fault, if any.
    row
        1-based line of the file, or the name of the row, if any.
    remedy
        What the user can do about it.
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
