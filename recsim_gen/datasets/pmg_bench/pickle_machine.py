"""The stack machine that pickles are programs for, with arrays and without anything to call.

The format is the one that the comments of Python's ``pickletools`` describe; arrays as numpy 1 and
2 write them. Methods raise DataError for what is refused, and LookupError, TypeError or ValueError
for what makes no sense; `pickles.parse` words the latter.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recsim_gen.core.errors import DataError

MAX_STEPS = 20_000_000  # about 30 for a picture, 4 for a caption; bounds time and memory
_STOP = pickle.STOP[0]
_DTYPE = re.compile(r"([biufc]\d{1,2}|[SU]\d{1,6})\Z")
_KEYS = frozenset({str, int, float, bool, type(None), memoryview})  # hashed without going deep
_WANTED = "a pickle of plain values and arrays is wanted"


class Name(str):
    """One of the names that a pickle may ask for."""


class Kind:
    """A dtype: made from its code, then told its byte order."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


class Unfilled:
    """An array before its content comes; ``slots`` of the memo are to hold the array itself."""

    def __init__(self) -> None:
        self.slots: list[int] = []


_ARRAY, _SCALAR, _BUFFER = Name("array"), Name("scalar"), Name("buffer")
_NDARRAY, _DTYPE_OF, _BYTES = Name("ndarray"), Name("dtype"), Name("bytes")
_KNOWN = {
    **{f"numpy.{core}.multiarray._reconstruct": _ARRAY for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _SCALAR for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _BUFFER for core in ("core", "_core")},
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _DTYPE_OF,
    "_codecs.encode": _BYTES,  # how protocols below 3 write bytes
    "builtins.bytes": _BYTES,
    "__builtin__.bytes": _BYTES,
}


class Machine:
    """Reads ``data`` from ``at``; ``stack``, ``marks`` (heights of the stack) and ``memo`` as in pickle."""

    def __init__(self, data: memoryview, file: str | Path) -> None:
        self.data, self.file, self.at = data, file, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, steps: Mapping[int, Callable[[Machine], object]]) -> Any:
        """Step by step to the end; gives the value that is left."""
        for _ in range(MAX_STEPS):
            code = self.data[self.at]
            self.at += 1
            if code == _STOP:
                (value,) = self.stack
                return value
            step = steps.get(code)
            if step is None:
                raise self.refusal(f"{_WANTED}, got the opcode {bytes([code])!r}")
            step(self)
        raise self.refusal(f"a pickle of at most {MAX_STEPS:,} steps is wanted, got a longer one")

    def refusal(self, problem: str) -> DataError:
        """The error that names the file."""
        remedy = "Nothing of it was run. Fetch the file as published; plain values and arrays are read"
        return DataError(problem, file=self.file, remedy=remedy)

    def take(self, n: int) -> memoryview:
        """The next ``n`` bytes, not copied."""
        left = len(self.data) - self.at
        if n > left:
            raise self.refusal(f"the pickle claims {n:,} bytes, the file has {left:,} left")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int, *, signed: bool = False) -> int:
        """The next ``n`` bytes as a whole number."""
        return int.from_bytes(self.take(n), "little", signed=signed)

    def line(self, longest: int) -> bytes:
        """The text up to the end of the line, ``longest`` bytes at most."""
        for low in range(self.at, min(len(self.data), self.at + longest), 4096):  # the file may be large
            place = bytes(self.data[low : low + 4096]).find(b"\n")
            if place >= 0:
                return bytes(self.take(low + place + 1 - self.at))[:-1]
        raise ValueError("no end of line")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def above_mark(self) -> list[Any]:
        """What stands above the last mark, taken off the stack with it."""
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def last(self, n: int) -> tuple[Any, ...]:
        """The ``n`` values on top, taken off the stack."""
        values = tuple(self.stack[-n:])
        if len(values) < n:
            raise IndexError("stack")
        del self.stack[-n:]
        return values

    def remember(self, slot: int) -> None:
        """Keep what is on top of the stack under this number."""
        value = self.memo[slot] = self.stack[-1]
        if type(value) is Unfilled:
            value.slots.append(slot)

    def extend(self, values: Iterable[Any]) -> None:
        """Append to the list on top."""
        if type(self.stack[-1]) is not list:
            raise TypeError("no list")
        self.stack[-1].extend(values)

    def update(self, flat: list[Any] | tuple[Any, ...]) -> None:
        """Put keys and values, one after the other, into the dict on top."""
        keys = flat[::2]
        if type(self.stack[-1]) is not dict:
            raise TypeError("no dict")
        if not _KEYS.issuperset(map(type, keys)):
            raise self.refusal("keys of a dict must be text or numbers, got another kind")
        self.stack[-1].update(zip(keys, flat[1::2], strict=True))

    def ask(self, module: Any, name: Any) -> None:
        """Push one of the known names; anything else is refused, whatever it is."""
        if type(module) is not str or type(name) is not str:
            raise TypeError("no name")
        known = _KNOWN.get(f"{module}.{name}")
        if known is None:
            raise self.refusal(f"{_WANTED}, got one that asks for {f'{module}.{name}'[:200]!r}")
        self.push(known)

    def reduce(self) -> None:
        """What a known name makes of its arguments; nothing is called."""
        what, arguments = self.last(2)
        if type(what) is not Name or type(arguments) is not tuple:
            raise TypeError("nothing to make")
        if what is _DTYPE_OF:
            self.push(self._kind(arguments[0]))
        elif what is _ARRAY and arguments[0] is _NDARRAY:
            self.push(Unfilled())
        elif what is _SCALAR:
            kind, content = arguments
            self.push(self._array(content, kind, (), "C").item())
        elif what is _BUFFER:
            self.push(self._array(*arguments))
        elif what is _BYTES:
            self.push(memoryview(_latin1(*arguments)))
        else:
            raise TypeError("nothing to make")

    def build(self) -> None:
        """Give a dtype its byte order, or an array its content."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Kind:
            target.order = state[1]
            if target.order not in ("<", ">", "|", "=") or any(x is not None for x in state[2:5]):
                raise self.refusal("an array of numbers or text is wanted, got one of structures")
        elif type(target) is Unfilled:
            _, shape, kind, fortran, content = state
            array = self.stack[-1] = self._array(content, kind, shape, "F" if fortran is True else "C")
            self.memo.update(dict.fromkeys(target.slots, array))
            target.slots.clear()
        else:
            raise TypeError("nothing to build")

    def _kind(self, code: Any) -> Kind:
        if type(code) is not str:
            raise TypeError("no dtype")
        if not _DTYPE.match(code):
            got = "objects" if code.startswith("O") else repr(code[:40])
            raise self.refusal(f"an array of numbers or text is wanted, got one of {got}")
        return Kind(code)

    def _array(self, content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
        """A read-only view of ``content``."""
        if type(content) is not memoryview or type(kind) is not Kind or type(shape) is not tuple:
            raise TypeError("no array")
        if len(shape) > 32 or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError("no shape")
        dtype = np.dtype(f"{'' if kind.order == '|' else kind.order}{kind.code}")
        size = math.prod(shape) * dtype.itemsize
        if size != len(content):
            raise self.refusal(
                f"an array of shape {shape} takes {size:,} bytes, the pickle has {len(content):,}"
            )
        return np.ndarray(shape, dtype, buffer=content, order="F" if order == "F" else "C")


def _latin1(text: Any = "", encoding: Any = "latin1") -> bytes:
    if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
        raise TypeError("no bytes")
    return text.encode("latin1")
