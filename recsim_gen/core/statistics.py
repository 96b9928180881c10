"""Intervals and tests, in one place: clustered bootstrap, paired differences, Holm.

Rows of one person are not independent, so people (clusters), not rows, are drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng

RESAMPLES = 10_000
DRAWS_HELD = 1 << 24


@dataclass(frozen=True)
class Estimate:
    """A mean, its percentile interval, a two-sided p-value against 0, and the number of rows."""

    value: float
    low: float
    high: float
    p: float
    n: int


def bootstrap(
    values: NDArray[Any], clusters: NDArray[Any], rng: Rng, *, resamples: int = RESAMPLES, level: float = 0.95
) -> Estimate:
    """`bootstrap_columns` of a single column ``values`` (B,)."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise DataError(f"values must be (B,), got {values.shape}")
    return bootstrap_columns(values[:, None], clusters, rng, resamples=resamples, level=level)[0]


def bootstrap_columns(
    values: NDArray[Any], clusters: NDArray[Any], rng: Rng, *, resamples: int = RESAMPLES, level: float = 0.95
) -> list[Estimate]:
    """Mean of each column of ``values`` (B, m), with an interval from drawing whole ``clusters`` (B,) again.

    Each resample draws as many clusters as there are, with replacement, and takes the mean of all
    their rows; all columns share the draws. p = 2·min(share ≤ 0, share ≥ 0), at least
    1/(resamples + 1). With one cluster the interval is not known: NaN. Raises DataError for NaN
    values or differing lengths.
    """
    values, clusters = np.asarray(values, dtype=float), np.asarray(clusters)
    if values.ndim != 2 or clusters.shape != values.shape[:1] or len(values) == 0:
        raise DataError(f"values must be (B, m) and clusters (B,), got {values.shape} and {clusters.shape}")
    if np.isnan(values).any():
        raise DataError("values must be numbers, got NaN", row=int(np.isnan(values).any(1).argmax()))
    _, place, size = np.unique(clusters, return_inverse=True, return_counts=True)
    mean, n = values.mean(0), len(values)
    if len(size) < 2:
        return [Estimate(float(v), np.nan, np.nan, np.nan, n) for v in mean]
    total = np.zeros((len(size), values.shape[1]))
    np.add.at(total, place, values)
    means = _resampled_means(total, size, rng, resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    tail = np.minimum((means <= 0).sum(0), (means >= 0).sum(0))
    p = np.minimum(1.0, 2 * np.maximum(tail, 0.5) / (resamples + 1))
    return [
        Estimate(float(v), float(a), float(b), float(q), n)
        for v, a, b, q in zip(mean, low, high, p, strict=True)
    ]


def _resampled_means(total: NDArray[Any], size: NDArray[Any], rng: Rng, resamples: int) -> NDArray[Any]:
    """(resamples, m) ratio of summed totals to summed sizes, drawn in blocks of bounded memory."""
    generator = rng.for_("bootstrap").numpy()
    clusters = len(size)
    block = max(1, DRAWS_HELD // clusters)
    means = np.empty((resamples, total.shape[1]))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = generator.integers(clusters, size=(count, clusters)) + np.arange(count)[:, None] * clusters
        times = np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters).astype(float)
        means[start : start + count] = (times @ total) / (times @ size)[:, None]
    return means


def holm(p: Sequence[float]) -> NDArray[Any]:
    """Holm's step-down adjustment of p-values (NaN stays NaN and does not count)."""
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p, dtype=float)
    known = ~np.isnan(values)
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = multipletests(values[known], method="holm")[1]
    return out
