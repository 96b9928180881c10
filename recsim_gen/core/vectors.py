"""Vectors of unit length, as needed for cosines, and rows of vectors that stay in a file."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import atomic

LARGEST = float(np.finfo(np.float16).max)

_mapped: WeakValueDictionary[int, np.memmap[Any, Any]] = WeakValueDictionary()  # by where their numbers start


def unit(x: NDArray[Any], dtype: DTypeLike = None) -> NDArray[Any]:
    """Return ``x`` (…, d) scaled to length 1; a zero vector stays zero (cosine 0 with everything).

    ``dtype``: use float64 for numbers that are reported; default: that of ``x``.
    """
    x = np.asarray(x, dtype=dtype)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


class MappedRows(np.ndarray if TYPE_CHECKING else object):  # type: ignore[misc]
    """Rows (n, d) of a ``.npy`` file of float16, mapped into memory; they look like float32.

    What asks for rows gets them alone; what asks for an array of all gets one, as large as it is.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, file: str | Path) -> None:
        try:
            self.half: NDArray[Any] = np.load(file, mmap_mode="c", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            remedy = "Delete it; it is made again when it is next asked for"
            raise DataError(f"no readable features: {error}", file=Path(file), remedy=remedy) from error
        if self.half.ndim != 2 or self.half.dtype != np.float16:
            got = f"{self.half.dtype} {self.half.shape}"
            raise DataError(f"mapped features are (n, d) float16, got {got}", file=Path(file))
        self.shape = self.half.shape
        _mapped[self.half.ctypes.data] = self.half

    def __len__(self) -> int:
        return len(self.half)

    def __getitem__(self, rows: Any) -> Any:
        return self.half[rows].astype(np.float32)

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> NDArray[Any]:
        array: NDArray[Any] = self.half.astype(np.float32 if dtype is None else dtype)
        return array

    def copy(self) -> NDArray[Any]:
        """All rows, float32, in memory."""
        return np.asarray(self)

    def hashed(self) -> NDArray[Any]:
        """Return what a fingerprint is made of: the numbers of the file."""
        return self.half


def unload(address: int) -> None:
    """Take `MappedRows` whose numbers start at ``address`` out of memory; they are read again when needed.

    Nothing happens if no mapped rows start there.
    """
    rows: Any = _mapped.get(address)
    if rows is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        rows._mmap.madvise(mmap.MADV_DONTNEED)


def write_mapped(file: str | Path, n: int, parts: Iterable[NDArray[Any]]) -> MappedRows:
    """Write ``parts``, which are n rows one below the other, as float16; return them mapped.

    Whole or not at all; one part is held at a time. Raises DataError for numbers that float16 does not hold.
    """
    with atomic(file) as temporary, temporary.open("wb") as opened:
        for number, part in enumerate(parts):
            if number == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (n, part.shape[1])}
                np.lib.format.write_array_header_1_0(opened, header)  # type: ignore[no-untyped-call]
            if np.abs(part).max(initial=0) > LARGEST:
                raise DataError(
                    f"features in a file are float16, up to {LARGEST:,.0f}; got {np.abs(part).max():.3g}",
                    remedy="Encode with mapped_from=0, which keeps them in memory",
                )
            opened.write(np.ascontiguousarray(part, dtype="<f2").tobytes())
    return MappedRows(file)
