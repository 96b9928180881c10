"""Progress on standard error: bars on a terminal, occasional lines elsewhere; nothing under ``--quiet``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_line: ContextVar[int | None] = ContextVar("line", default=None)


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Context in which ``bar`` and ``say`` show nothing if ``quiet``; results are still printed."""
    token = _quiet.set(quiet or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


@contextmanager
def on_line(line: int) -> Iterator[None]:
    """Context in which bars are drawn ``line`` lines lower: for processes that share a terminal."""
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)


def is_quiet() -> bool:
    """Return whether ``--quiet`` is in effect."""
    return _quiet.get()


SECONDS_BETWEEN_LINES = 30.0
"""Seconds before a stage's first line and between lines, if standard error is not a terminal."""


def bar(
    items: Iterable[Any] | None = None, what: str = "", *, total: int | None = None, unit: str = "it"
) -> tqdm[Any]:
    """Return a tqdm bar over ``items``, or one to ``update`` by hand; ``what`` names the work.

    If standard error is not a terminal (a log file), a long stage writes an occasional line instead: the
    progress and the remaining time.
    """
    from tqdm import tqdm

    kind = tqdm if sys.stderr.isatty() else _lines()
    arguments: dict[str, Any] = {"disable": is_quiet(), "leave": False, "dynamic_ncols": True}
    return kind(items, desc=what, total=total, unit=unit, position=_line.get(), **arguments)


@cache
def _lines() -> type[tqdm[Any]]:
    """Return a tqdm class that writes lines; created on first use, since importing tqdm takes time."""
    from tqdm import tqdm

    class Lines(tqdm):  # type: ignore[type-arg]
        """Writes the progress every ``SECONDS_BETWEEN_LINES``, and nothing at the end."""

        monitor_interval = 0  # no background thread that redraws bars

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.said = monotonic()
            super().__init__(*args, **kwargs)

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            """Write a line if the last one is old enough."""
            waited = monotonic() - self.said >= SECONDS_BETWEEN_LINES
            if msg is None and waited and self.n != self.total:
                self.said = monotonic()
                say(_standing(self.format_dict))

    return Lines


def _standing(numbers: Mapping[str, Any]) -> str:
    """Return ``reading pictures: 120 of 1,000 in 01:10, 08:33 left`` and the bar's postfix."""
    from tqdm import tqdm

    n, total, elapsed = numbers["n"], numbers["total"], numbers["elapsed"]
    done = f"{n:,} of {total:,}" if total else f"{n:,}"
    line = f"{numbers['prefix']}: {done} in {tqdm.format_interval(elapsed)}"
    if total and n:
        line += f", {tqdm.format_interval(elapsed * (total - n) / n)} left"
    return line + (f", {numbers['postfix']}" if numbers["postfix"] else "")


def say(text: str) -> None:
    """Write one line about the progress to standard error, unless quiet."""
    if not is_quiet():
        sys.stderr.write(text + "\n")
