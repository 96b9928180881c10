"""Reads pickles as pure data: only plain values and arrays can result.

A pickle is a program for a small stack machine, and Python's own implementation runs whatever it names.
Restricting names (``find_class``) would still let it allocate memory that the file cannot fill, and would
copy all images into memory. The machine used here knows the opcodes for plain values and numpy arrays,
imports nothing, and never takes more bytes than the file has. Large data is not copied: arrays are views of
the file, read from disk on access.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.pmg_bench.pickle_machine import Machine
from recsim_gen.datasets.pmg_bench.pickle_opcodes import STEPS

MAX_DEPTH = 16  # maximal nesting of containers
_LEAVES = frozenset({str, int, float, bool, type(None), memoryview, np.ndarray})
_CONTAINERS = (dict, list, tuple)


def read_pickle(path: str | Path) -> Any:
    """Return the value of a pickle: dict, list, tuple, str, int, float, bool, None, bytes, numpy arrays.

    Arrays are read-only views and bytes are memoryviews of the file, so the file must stay. Numpy numbers
    become Python's. Raises DataError for a file that cannot be read, is broken, or contains anything else: a
    class, a function, an array of objects, more bytes than it has.
    """
    path = Path(path)
    try:
        with path.open("rb") as f:
            if path.stat().st_size == 0:
                raise DataError("a pickle is wanted, the file is empty", file=path, remedy="Fetch it again")
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        remedy = f"Does {path.parent} hold the data as published?"
        raise DataError(f"cannot be opened ({error.strerror})", file=path, remedy=remedy) from error
    return parse(data, path)


def parse(data: bytes | mmap.mmap, file: str | Path) -> Any:
    """As `read_pickle`, but from bytes; ``file`` is for messages."""
    machine = Machine(memoryview(data), file)
    try:
        value = machine.run(STEPS)
        _check(value, machine)
    except (LookupError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise machine.refusal(f"the pickle is broken or cut off near byte {machine.at:,}") from error
    return value


def _check(value: Any, machine: Machine) -> None:
    """Reject unfinished values, and containers that are too deep or contain themselves."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if any(type(x) not in _LEAVES and type(x) not in _CONTAINERS for x in level):
            raise TypeError("something unfinished is left")
        deeper: dict[int, Any] = {}  # by identity: shared containers are visited once
        for x in level:
            inside = x.values() if type(x) is dict else x if type(x) in _CONTAINERS else ()
            if not _LEAVES.issuperset(map(type, inside)):
                deeper.update((id(y), y) for y in inside if type(y) not in _LEAVES)
        if not deeper:
            return
        level = list(deeper.values())
    raise machine.refusal(f"values at most {MAX_DEPTH} deep are wanted, got deeper ones")
