"""Progress on standard error, silent under ``--quiet`` and where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_line: ContextVar[int | None] = ContextVar("line", default=None)


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Inside, ``bar`` and ``say`` show nothing when ``quiet``; results are printed all the same."""
    token = _quiet.set(quiet or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


@contextmanager
def on_line(line: int) -> Iterator[None]:
    """Inside, bars are drawn ``line`` lines lower: for processes that share a terminal."""
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)


def is_quiet() -> bool:
    """Whether ``--quiet`` holds here."""
    return _quiet.get()


def bar(
    items: Iterable[Any] | None = None, what: str = "", *, total: int | None = None, unit: str = "it"
) -> tqdm[Any]:
    """A tqdm bar over ``items``, or one to ``update`` by hand; ``what`` names the work.

    Shown only on a terminal: a log file gets no thousand lines of it.
    """
    from tqdm import tqdm

    hidden = True if is_quiet() else None  # None: tqdm looks whether standard error is a terminal
    how: dict[str, Any] = {"disable": hidden, "leave": False, "dynamic_ncols": True, "position": _line.get()}
    return tqdm(items, desc=what, total=total, unit=unit, **how)


def say(text: str) -> None:
    """One line on standard error about what goes on, unless quiet."""
    if not is_quiet():
        sys.stderr.write(text + "\n")
