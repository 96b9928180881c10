"""Reads lines of large text files without holding them in memory."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar

MAX_LINE = 2**20  # bytes; the longest published line (a user's history) has a few thousand
_CHUNK = 2**24


def line_starts(path: str | Path) -> np.ndarray:
    """Return the (lines + 1,) int64 offsets of the lines and of the end; raises DataError if empty."""
    path = Path(path)
    offset, starts = 0, [np.zeros(1, dtype=np.int64)]
    with _open(path) as f, bar(what=path.name, total=path.stat().st_size, unit="B") as shown:
        while chunk := f.read(_CHUNK):
            starts.append(np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == 10) + offset + 1)
            offset += len(chunk)
            shown.update(len(chunk))
    offsets = np.concatenate(starts)
    if not offset:
        raise DataError("lines are wanted, the file is empty", file=path, remedy="Fetch it again")
    return offsets if offsets[-1] == offset else np.append(offsets, offset)


def lines_at(path: str | Path, starts: np.ndarray, numbers: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of the lines with these numbers; ``starts`` is from ``line_starts``."""
    path = Path(path)
    with _open(path) as f:
        for number in numbers:
            f.seek(int(starts[number - 1]))
            yield number, _text(f.readline(MAX_LINE + 1), path, number)


def lines_if(path: str | Path, wanted: Callable[[bytes], bool]) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of the lines whose bytes are ``wanted``; others are not decoded."""
    path = Path(path)
    with _open(path) as f, bar(what=path.name, total=path.stat().st_size, unit="B") as shown:
        number, line = 1, f.readline(MAX_LINE + 1)
        while line:
            if wanted(line) or len(line) > MAX_LINE:
                yield number, _text(line, path, number)
            shown.update(len(line))
            number, line = number + 1, f.readline(MAX_LINE + 1)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        remedy = f"Does {path.parent} hold the data as published?"
        raise DataError(f"cannot be opened ({error.strerror})", file=path, remedy=remedy) from error


def _text(line: bytes, path: Path, number: int) -> str:
    if len(line) > MAX_LINE:
        remedy = "Is this the file that was published?"
        raise DataError(f"a line is longer than {MAX_LINE:,} bytes", file=path, row=number, remedy=remedy)
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"UTF-8 text is wanted, got the byte 0x{line[error.start]:02x}",
            file=path,
            row=number,
            remedy=to_utf8(line),
        ) from error
    if "\0" in text:
        raise DataError("text is wanted, got the character 0", file=path, row=number, remedy="Fetch it again")
    return text


def to_utf8(head: bytes) -> str:
    """Return how to convert a file that begins like ``head`` (or has such a line) to UTF-8."""
    encoding = "UTF-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "LATIN1"
    return f"Convert it, e.g. iconv -f {encoding} -t UTF-8"
