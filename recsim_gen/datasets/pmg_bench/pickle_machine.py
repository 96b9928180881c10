"""The stack machine that executes pickles, with arrays and without calling anything.

The format is described in the comments of Python's ``pickletools``; arrays as numpy 1 and 2 write them.
Methods raise DataError for what is rejected, and LookupError, TypeError or ValueError for malformed input,
which `pickles.parse` turns into messages.
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

MAX_STEPS = 20_000_000  # about 30 per image, 4 per caption; bounds time and memory
_STOP = pickle.STOP[0]
_DTYPE = re.compile(r"([biufc]\d{1,2}|[SU]\d{1,6})\Z")
_KEYS = frozenset({str, int, float, bool, type(None), memoryview})  # hashable without recursion
_WANTED = "must be a pickle of plain values and arrays"


class Name(str):
    """One of the global names that a pickle may refer to."""


class Kind:
    """A dtype: created from its code, then given its byte order."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


class Unfilled:
    """An array before its content arrives; ``slots`` are the memo entries to replace by the array."""

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
    "_codecs.encode": _BYTES,  # encoding of bytes below protocol 3
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
        """Execute all opcodes and return the resulting value."""
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
        """Return the error for rejected content, with the file."""
        remedy = "Nothing of it was run. Fetch the file as published; plain values and arrays are read"
        return DataError(problem, file=self.file, remedy=remedy)

    def take(self, n: int) -> memoryview:
        """Return the next ``n`` bytes, not copied."""
        left = len(self.data) - self.at
        if n > left:
            raise self.refusal(f"the pickle claims {n:,} bytes, the file has {left:,} left")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, n: int, *, signed: bool = False) -> int:
        """Return the next ``n`` bytes as an integer."""
        return int.from_bytes(self.take(n), "little", signed=signed)

    def line(self, longest: int) -> bytes:
        """Return the text up to the end of the line, at most ``longest`` bytes."""
        for low in range(
            self.at, min(len(self.data), self.at + longest), 4096
        ):  # in blocks: the file may be large
            place = bytes(self.data[low : low + 4096]).find(b"\n")
            if place >= 0:
                return bytes(self.take(low + place + 1 - self.at))[:-1]
        raise ValueError("no end of line")

    def push(self, value: Any) -> None:
        """Push a value on the stack."""
        self.stack.append(value)

    def above_mark(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def last(self, n: int) -> tuple[Any, ...]:
        """Pop the ``n`` top values."""
        values = tuple(self.stack[-n:])
        if len(values) < n:
            raise IndexError("stack")
        del self.stack[-n:]
        return values

    def remember(self, slot: int) -> None:
        """Store the top of the stack in the memo under this number."""
        value = self.memo[slot] = self.stack[-1]
        if type(value) is Unfilled:
            value.slots.append(slot)

    def extend(self, values: Iterable[Any]) -> None:
        """Append to the list on top of the stack."""
        if type(self.stack[-1]) is not list:
            raise TypeError("no list")
        self.stack[-1].extend(values)

    def update(self, flat: list[Any] | tuple[Any, ...]) -> None:
        """Add alternating keys and values to the dict on top of the stack."""
        keys = flat[::2]
        if type(self.stack[-1]) is not dict:
            raise TypeError("no dict")
        if not _KEYS.issuperset(map(type, keys)):
            raise self.refusal("keys of a dict must be text or numbers, got another kind")
        self.stack[-1].update(zip(keys, flat[1::2], strict=True))

    def ask(self, module: Any, name: Any) -> None:
        """Push one of the allowed global names; reject any other."""
        if type(module) is not str or type(name) is not str:
            raise TypeError("no name")
        known = _KNOWN.get(f"{module}.{name}")
        if known is None:
            raise self.refusal(f"{_WANTED}, got one that asks for {f'{module}.{name}'[:200]!r}")
        self.push(known)

    def reduce(self) -> None:
        """Replace an allowed name and its arguments by their value; nothing is called."""
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
        """Set the byte order of a dtype, or the content of an array."""
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
        """Return a read-only view of ``content``."""
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
