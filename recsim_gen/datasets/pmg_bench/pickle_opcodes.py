"""Implementation of each opcode of a pickle; opcodes that create objects of classes are absent."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable

from recsim_gen.datasets.pmg_bench.pickle_machine import Machine

_NUMBER = 64  # most bytes of a number written as text
_NAME = 4096  # most bytes of a module or name
_TEXT = 2**31


def _protocol(m: Machine) -> None:
    if m.number(1) > 5:
        raise m.refusal("a pickle of protocol 5 or lower is wanted, got a later one")


def _whole(m: Machine) -> int | bool:
    line = m.line(_NUMBER)
    return line == b"01" if line in (b"00", b"01") else int(line)  # booleans in protocols 0 and 1


def _long(m: Machine, n: int) -> None:
    if n > 9:
        raise m.refusal(f"a whole number of 64 bits is wanted, got one of {n:,} bytes")
    m.push(m.number(n, signed=True))


def _unicode(m: Machine) -> None:
    text = m.line(_TEXT).decode("raw-unicode-escape")
    text.encode()  # raises for half a surrogate pair, which could not be written later
    m.push(text)


def _text(m: Machine, n: int) -> None:
    m.push(str(m.take(n), "utf-8"))


def _dict(m: Machine) -> None:
    flat = m.above_mark()
    m.push({})
    m.update(flat)


def _name(m: Machine) -> None:
    m.ask(m.line(_NAME).decode(), m.line(_NAME).decode())


_BY_CODE: dict[bytes, Callable[[Machine], object]] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.marks.append(len(m.stack)),
    pickle.POP: lambda m: m.stack.pop(),
    pickle.POP_MARK: lambda m: m.above_mark(),
    pickle.DUP: lambda m: m.push(m.stack[-1]),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.INT: lambda m: m.push(_whole(m)),
    pickle.LONG: lambda m: m.push(int(m.line(_NUMBER).removesuffix(b"L"))),
    pickle.BININT: lambda m: m.push(m.number(4, signed=True)),
    pickle.BININT1: lambda m: m.push(m.number(1)),
    pickle.BININT2: lambda m: m.push(m.number(2)),
    pickle.LONG1: lambda m: _long(m, m.number(1)),
    pickle.LONG4: lambda m: _long(m, m.number(4)),
    pickle.FLOAT: lambda m: m.push(float(m.line(_NUMBER))),
    pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    pickle.UNICODE: _unicode,
    pickle.SHORT_BINUNICODE: lambda m: _text(m, m.number(1)),
    pickle.BINUNICODE: lambda m: _text(m, m.number(4)),
    pickle.BINUNICODE8: lambda m: _text(m, m.number(8)),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.take(m.number(1))),
    pickle.BINBYTES: lambda m: m.push(m.take(m.number(4))),
    pickle.BINBYTES8: lambda m: m.push(m.take(m.number(8))),
    pickle.BYTEARRAY8: lambda m: m.push(m.take(m.number(8))),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE1: lambda m: m.push(m.last(1)),
    pickle.TUPLE2: lambda m: m.push(m.last(2)),
    pickle.TUPLE3: lambda m: m.push(m.last(3)),
    pickle.TUPLE: lambda m: m.push(tuple(m.above_mark())),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.LIST: lambda m: m.push(m.above_mark()),
    pickle.APPEND: lambda m: m.extend(m.last(1)),
    pickle.APPENDS: lambda m: m.extend(m.above_mark()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.DICT: _dict,
    pickle.SETITEM: lambda m: m.update(m.last(2)),
    pickle.SETITEMS: lambda m: m.update(m.above_mark()),
    pickle.PUT: lambda m: m.remember(int(m.line(_NUMBER))),
    pickle.BINPUT: lambda m: m.remember(m.number(1)),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number(4)),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.GET: lambda m: m.push(m.memo[int(m.line(_NUMBER))]),
    pickle.BINGET: lambda m: m.push(m.memo[m.number(1)]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number(4)]),
    pickle.GLOBAL: _name,
    pickle.INST: _name,  # also refers to a global name, which must be allowed
    pickle.STACK_GLOBAL: lambda m: m.ask(*m.last(2)),
    pickle.REDUCE: lambda m: m.reduce(),
    pickle.BUILD: lambda m: m.build(),
}
STEPS = {code[0]: step for code, step in _BY_CODE.items()}
"""{opcode byte: function that executes it}."""
