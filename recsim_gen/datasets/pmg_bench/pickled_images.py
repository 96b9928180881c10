"""Images stored as arrays in a pickle: views of the file, read on access."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.store import cached_array, file_state, fingerprint
from recsim_gen.datasets.files.decoding import MAX_PIXELS
from recsim_gen.datasets.pmg_bench.captions import by_item

if TYPE_CHECKING:
    from PIL import Image


class PickledImages:
    """Images of catalogue rows in a pickle of ``{item id: uint8 (H, W, 3)}``: an ``ImageReader``.

    Items that are not in ``item_ids`` (n,) are ignored, counted in ``unmatched``, and listed in ``strays``.
    Raises DataError for a pickle that is rejected (see ``pickles``) or has other content.
    """

    def __init__(self, file: str | Path, item_ids: np.ndarray) -> None:
        self._file, self._item_ids = Path(file), item_ids
        pixels = by_item(self._file)
        for item, array in pixels.items():
            self._check(item, array)
        row_of = {item: row for row, item in enumerate(item_ids.tolist())}
        self._pixels: Mapping[int, np.ndarray] = {
            row_of[item]: array for item, array in pixels.items() if item in row_of
        }
        self.strays = [item for item in pixels if item not in row_of]

    @property
    def unmatched(self) -> int:
        """Number of images that belong to no item."""
        return len(self.strays)

    def __reduce__(self) -> tuple[type[PickledImages], tuple[Path, np.ndarray]]:
        return PickledImages, (self._file, self._item_ids)  # workers open the file; pixels are not sent

    def _check(self, item: str, array: object) -> None:
        got = type(array).__name__
        if isinstance(array, np.ndarray):
            coloured = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
            if coloured and 0 < array.size <= 3 * MAX_PIXELS:
                return
            got = f"{array.dtype} {array.shape}"
        raise DataError(
            f"a picture must be uint8 (H, W, 3) of at most {MAX_PIXELS:,} pixels, got {got}",
            file=self._file,
            row=f"item {item}",
            remedy="Fetch the file as published, or leave that picture out: items without one are handled",
        )

    @cached_property
    def present(self) -> np.ndarray:
        """Return (n,) bool: rows that have an image."""
        mask = np.zeros(len(self._item_ids), dtype=bool)
        mask[list(self._pixels)] = True
        mask.setflags(write=False)
        return mask

    def read(self, row: int) -> Image.Image:
        """Return the image of a row. Raises DataError if there is none."""
        from PIL import Image

        array = self._pixels.get(int(row))
        if array is None:
            raise DataError(
                f"item {str(self._item_ids[row])!r} has no picture", remedy="Check `present` first"
            )
        return Image.fromarray(np.array(array))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of item ids and pixels."""
        return fingerprint(self._item_ids[self.present], self.digests)

    @cached_property
    def digests(self) -> np.ndarray:
        """Return (p, 16) uint8: BLAKE2 hash of shape and pixels of each image that is present, by row.

        The pixels are read once per state of the file, see `file_state`.
        """
        state = [str(self._file.resolve()), *file_state(self._file), self._item_ids]
        return cached_array("pickle-digests", fingerprint(*state), self._digests)

    def _digests(self) -> np.ndarray:
        digests = []
        for row in bar(sorted(self._pixels), "reading pictures once", unit="pictures"):
            array = self._pixels[row]
            h = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
            h.update(np.ascontiguousarray(array).data)
            digests.append(h.digest())
        return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), 16)
