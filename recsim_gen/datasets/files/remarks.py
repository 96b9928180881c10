"""Remarks that readers of files make: what was cleaned, joined or ignored.

A reader deep in a loader calls `remark`; the code that opens data collects the remarks::

    with remarks() as said:
        dataset = load(path)
    notes = (*said, *dataset.notes)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


@contextmanager
def remarks() -> Iterator[list[str]]:
    """Context that gives a list of all remarks made inside, without repetitions."""
    lines: list[str] = []
    token = _said.set(lines)
    try:
        yield lines
    finally:
        _said.reset(token)


def remark(sentence: str) -> None:
    """Add a remark for the enclosing `remarks`; ignored if there is none."""
    lines = _said.get()
    if lines is not None and sentence not in lines:
        lines.append(sentence)
