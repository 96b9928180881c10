"""Features made comparable across categories: centred by category, uncorrelated, of variance 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.sparse import csr_array

from recsim_gen.core.errors import DataError

SMALLEST = 1e-10  # variances below this share of the largest are rounding
ROWS = 8192  # rows held in float64 at a time
SAMPLE = 20_000  # rows that a covariance is made of, evenly spaced: more would not move its leading axes


@dataclass(frozen=True, eq=False)
class Whitened:
    """Features x (n, D) as z = (x − centre of x's category)·axes: uncorrelated within categories, variance 1.

    ``centre`` (C, D) mean features of each category; ``axes`` (D, d) the directions that vary most, over
    their standard deviations, the first most; ``z`` (n, d).
    """

    centre: NDArray[Any]
    axes: NDArray[Any]
    z: NDArray[Any]

    @classmethod
    def of(cls, x: NDArray[Any], category: NDArray[Any], width: int) -> Whitened:
        """Whiten ``x`` (n, D) of things in ``category`` (n,) codes 0…C−1, to ``width`` coordinates at most.

        O(n·D·width + D³ + min(n, 20,000)·D²). Raises DataError where nothing varies within categories.
        """
        count = int(category.max()) + 1
        belongs = csr_array((np.ones(len(x)), category, np.arange(len(x) + 1)), (len(x), count))
        total, scatter = np.zeros((count, x.shape[1])), np.zeros((x.shape[1], x.shape[1]))
        for at in _parts(len(x)):
            total += belongs[at].T @ x[at].astype(np.float64)
        centre = total / np.maximum(np.bincount(category, minlength=count), 1)[:, None]
        rows = np.linspace(0, len(x) - 1, min(len(x), SAMPLE)).round().astype(np.int64)
        for at in _parts(len(rows)):
            apart = x[rows[at]] - centre[category[rows[at]]]
            scatter += apart.T @ apart
        values, vectors = np.linalg.eigh(scatter / len(rows))
        values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
        real = values > max(SMALLEST * float(values.max(initial=0)), np.finfo(np.float32).tiny)
        if not real.any():
            raise DataError("features that differ within a category are wanted, all are equal")
        axes = vectors[:, real] / np.sqrt(values[real])
        z = np.concatenate([(x[at] - centre[category[at]]) @ axes for at in _parts(len(x))])
        return cls(centre, axes, z)

    @classmethod
    def joined(cls, parts: Sequence[Whitened], category: NDArray[Any]) -> Whitened:
        """Several features side by side (n, Σ D), whitened again to all Σ d coordinates."""
        beside = np.concatenate([part.z for part in parts], axis=1)
        again = cls.of(beside, category, beside.shape[1])
        centre = np.concatenate([part.centre for part in parts], axis=1)
        return cls(centre, block_diag(*(part.axes for part in parts)) @ again.axes, again.z)

    def narrowed(self, width: int) -> Whitened:
        """The first ``width`` coordinates alone."""
        return Whitened(self.centre, self.axes[:, :width], self.z[:, :width])


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, ROWS):
        yield slice(start, start + ROWS)
