"""Pairwise comparison of images: in blocks, with each image of a block prepared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np

from recsim_gen.core.progress import bar
from recsim_gen.metrics.feature_store import Filter

if TYPE_CHECKING:
    import torch

    from recsim_gen.metrics.rows import Rows

Prepared = TypeVar("Prepared")

Against = Literal["target", "history"]


class Comparison(Protocol[Prepared]):
    """A comparison in two steps: preparation of each image, then comparison of pairs."""

    pixels_held: int
    """Pixels in one block of pairs: larger blocks exceed a CPU's cache."""

    def prepare(self, pixels: torch.Tensor) -> Prepared:
        """Prepare images (U, 3, H, W) in [0, 1]."""

    def compare(self, prepared: Prepared, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the (P,) values of pairs of prepared images, given as row numbers (P,)."""


@dataclass(frozen=True)
class Resize:
    """Size to which both images of a pair are scaled, and the filter.

    ``side`` None: the size of the second image, the real one, which stays unchanged.
    """

    side: int | None = None
    resample: Filter = "bicubic"

    def __str__(self) -> str:
        size = "to the real picture's size" if self.side is None else f"to {self.side} x {self.side}"
        return f"{size}, {self.resample}"

    def sizes(self, real: np.ndarray) -> np.ndarray:
        """Return the (P, 2) height and width of each pair, given those of the real images (P, 2)."""
        return real if self.side is None else np.full_like(real, self.side)


TO_REAL = Resize()


def against(rows: Rows, what: Against, comparison: Comparison[Prepared], resize: Resize) -> np.ndarray:
    """Return the (B,) comparison with the target, or its mean over the images of the history.

    NaN if there is no image to compare with. A pair that occurs in several rows is compared once.
    """
    other = rows.get(what).reshape(len(rows), -1)
    row, _ = place = np.nonzero(other >= 0)
    pairs, which = np.unique(np.stack([rows.image[row], other[place]], 1), axis=0, return_inverse=True)
    value = compared(rows, pairs, comparison, resize)[which.ravel()]
    count = np.bincount(row, minlength=len(rows))
    total = np.bincount(row, weights=value, minlength=len(rows))
    return np.divide(total, count, out=np.full(len(rows), np.nan), where=count > 0)


def compared(rows: Rows, pairs: np.ndarray, comparison: Comparison[Prepared], resize: Resize) -> np.ndarray:
    """Return (P,) float64 values of ``pairs`` (P, 2) of image numbers: generated, real."""
    import torch

    sizes, store = resize.sizes(rows.store.album.sizes[pairs[:, 1]]), rows.store
    value = np.empty(len(pairs))
    with torch.inference_mode():
        for block in bar(_blocks(sizes, comparison.pixels_held), "comparing pictures", unit="block"):
            high, wide = sizes[block[0]].tolist()
            numbers, at = np.unique(pairs[block], return_inverse=True)
            left, right = torch.from_numpy(at.reshape(-1, 2)).T
            prepared = comparison.prepare(store.pixels(numbers, (high, wide), resize.resample))
            value[block] = comparison.compare(prepared, left, right).double().cpu().numpy()
    return value


def _blocks(sizes: np.ndarray, pixels_held: int) -> list[np.ndarray]:
    """Return the rows (P,) of pairs in blocks of equal size (P, 2) and bounded memory."""
    blocks = []
    for size in np.unique(sizes, axis=0):
        rows = np.flatnonzero((sizes == size).all(1))
        length = max(1, pixels_held // int(size.prod()))
        blocks += [rows[start : start + length] for start in range(0, len(rows), length)]
    return blocks
