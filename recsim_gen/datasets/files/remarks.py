"""Sentences about files that their readers say on the way: what was cleaned, joined or left aside.

A reader deep in a loader calls `remark`; whoever opens data collects what is said::

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
    """Give a list that grows by what is said inside, each sentence once."""
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


def remark(sentence: str) -> None:
    """Say something to whoever collects; to nobody where nobody does."""
    said = _said.get()
    if said is not None and sentence not in said:
        said.append(sentence)
