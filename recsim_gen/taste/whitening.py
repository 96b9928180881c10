"""Makes features comparable across categories: centred by category, uncorrelated, softly whitened.

With variances λ_k of the principal components within categories, z_k = component_k / √(λ_k + ρ·λ_1):
directions of large variance get a variance near 1, and directions of small variance are not inflated to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.sparse import csr_array

from recsim_gen.core.errors import DataError
from recsim_gen.core.vectors import unit

RIDGE = 0.02  # ρ: 0.01 to 0.03 predict validation choices of five shops better than 0.1
SMALLEST = 1e-10  # variances below this share of the largest are rounding errors
ROWS = 8192  # rows in float64 at once
SAMPLE = 20_000  # most rows for a covariance, evenly spaced


class UnitRows:
    """Rows of ``x`` (n, D) scaled to length 1, made when they are asked for."""

    def __init__(self, x: NDArray[Any]) -> None:
        self.x, self.shape = x, x.shape

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: NDArray[Any] | slice) -> NDArray[Any]:
        return unit(self.x[rows])


@dataclass(frozen=True, eq=False)
class Components:
    """Features x (n, D) as principal components y = (x − centre of x's category)·axes within categories.

    Parameters
    ----------
    centre
        (C, D) mean features of each category.
    axes
        (D, d).
    variance
        (d,) variance of each component relative to the first, descending.
    y
        (n, d).
    """

    centre: NDArray[Any]
    axes: NDArray[Any]
    variance: NDArray[Any]
    y: NDArray[Any]

    @classmethod
    def of(cls, x: NDArray[Any] | UnitRows, category: NDArray[Any], width: int) -> Components:
        """Return the first ``width`` components of ``x`` (n, D), with ``category`` (n,) codes 0…C−1.

        O(n·D·width + D³ + min(n, 20,000)·D²). Raises DataError if nothing varies within categories.
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
        axes = vectors[:, real] / np.sqrt(values[0])
        y = np.concatenate([(x[at] - centre[category[at]]) @ axes for at in _parts(len(x))])
        return cls(centre, axes, values[real] / values[0], y)

    @classmethod
    def joined(cls, parts: Sequence[Components], category: NDArray[Any]) -> Components:
        """Return the components of several feature tables side by side (n, Σ D), each with its own scale."""
        beside = np.concatenate([part.y for part in parts], axis=1)
        again = cls.of(beside, category, beside.shape[1])
        centre = np.concatenate([part.centre for part in parts], axis=1)
        axes = block_diag(*(part.axes for part in parts)) @ again.axes
        return cls(centre, axes, again.variance, again.y)

    def whitened(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the axes (D, d) and coordinates z (n, d) of variance λ / (λ + ρ)."""
        scale = np.sqrt(self.variance + RIDGE)
        return self.axes / scale, self.y / scale


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, ROWS):
        yield slice(start, start + ROWS)
