"""Intervals and tests: clustered bootstrap, paired differences, Holm.

Rows of one person are not independent, so people (clusters) are resampled instead of rows. Rows of one
training are not independent either, so where several trainings are averaged, trainings are resampled too.
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
    """A mean with its percentile interval, two-sided p-value against 0, and number of rows.

    For several trainings, ``n`` is the largest number of rows of one training, and ``signs`` holds the sign
    of each training's own mean in their order: ``+ + −``.
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    signs: str = ""

    def decided(self, p: float, level: float = 0.05) -> int:
        """Return 1 if above 0, −1 if below, 0 if undecided, judged by ``p`` (unadjusted or adjusted).

        Also undecided if the trainings differ in sign: a result that one training contradicts is not
        established.
        """
        if not p < level or len(set(self.signs.split())) > 1:
            return 0
        return 1 if self.value > 0 else -1


def bootstrap(
    values: NDArray[Any],
    clusters: NDArray[Any],
    rng: Rng,
    *,
    trainings: NDArray[Any] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Estimate:
    """Apply `bootstrap_columns` to a single column ``values`` (B,)."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise DataError(f"values must be (B,), got {values.shape}")
    return bootstrap_columns(
        values[:, None], clusters, rng, trainings=trainings, resamples=resamples, level=level
    )[0]


def bootstrap_columns(
    values: NDArray[Any],
    clusters: NDArray[Any],
    rng: Rng,
    *,
    trainings: NDArray[Any] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> list[Estimate]:
    """Return the mean of each column with a bootstrap interval that resamples whole clusters.

    Each resample draws as many clusters as there are, with replacement, and takes the mean of all their rows;
    all columns share the draws. p = 2·min(share ≤ 0, share ≥ 0), at least 1/(resamples + 1). With one cluster
    the interval is unknown: NaN.

    Of S > 1 trainings, each resample also draws S − 1 of their means with replacement (this number makes the
    variance of a mean of S unbiased: Rao and Wu, JASA 1988) and adds their deviation from the overall mean.
    So the variances of people and of trainings add up; the part that both share is counted twice, which is
    conservative (Cameron, Gelbach and Miller, JBES 2011, subtract it). The interval then holds for another
    training of the same kind; with one training it holds for that training only. Few trainings say little
    about their spread: if only they vary, the interval of three contains the truth three times in four, so
    look at ``signs`` as well.

    Parameters
    ----------
    values
        (B, m) numbers.
    clusters
        (B,) person that each row belongs to.
    rng
        Source of the draws.
    trainings
        (B,) training that each row comes from, such as its seed; None: a single training.
    resamples
        Number of resamples.
    level
        Coverage of the interval, in (0, 1).

    Returns
    -------
    list of Estimate
        m estimates.

    Raises
    ------
    DataError
        If a value is NaN or the lengths differ.
    """
    values, clusters = np.asarray(values, dtype=float), np.asarray(clusters)
    if values.ndim != 2 or clusters.shape != values.shape[:1] or len(values) == 0:
        raise DataError(f"values must be (B, m) and clusters (B,), got {values.shape} and {clusters.shape}")
    if np.isnan(values).any():
        raise DataError("values must be numbers, got NaN", row=int(np.isnan(values).any(1).argmax()))
    trainings = np.zeros(len(values)) if trainings is None else np.asarray(trainings)
    if trainings.shape != clusters.shape:
        raise DataError(f"trainings must be (B,) as clusters are, got {trainings.shape}")
    total, size = _sums(values, clusters)
    total_of_training, size_of_training = _sums(values, trainings)
    mean, n, of_training = values.mean(0), int(size_of_training.max()), len(size_of_training)
    signs = _signs(total_of_training / size_of_training[:, None])
    if len(size) < 2:
        return [Estimate(float(v), np.nan, np.nan, np.nan, n, s) for v, s in zip(mean, signs, strict=True)]
    means = _resampled_means(total, size, len(size), rng.for_("bootstrap"), resamples)
    if of_training > 1:
        drawn = (total_of_training, size_of_training, of_training - 1)
        means += _resampled_means(*drawn, rng.for_("trainings"), resamples) - mean
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    tail = np.minimum((means <= 0).sum(0), (means >= 0).sum(0))
    p = np.minimum(1.0, 2 * np.maximum(tail, 0.5) / (resamples + 1))
    return [
        Estimate(float(v), float(a), float(b), float(q), n, s)
        for v, a, b, q, s in zip(mean, low, high, p, signs, strict=True)
    ]


def _signs(means: NDArray[Any]) -> list[str]:
    """Return the signs of the trainings for each column of ``means`` (S, m); "" for a single training."""
    if len(means) < 2:
        return [""] * means.shape[1]
    return [" ".join("−0+"[int(s) + 1] for s in column) for column in np.sign(means).T.tolist()]


def _sums(values: NDArray[Any], group: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sum of ``values`` (B, m) over each group (k, m) and the size of each group (k,)."""
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    total = np.zeros((len(size), values.shape[1]))
    np.add.at(total, place, values)
    return total, size


def _resampled_means(
    total: NDArray[Any], size: NDArray[Any], draws: int, rng: Rng, resamples: int
) -> NDArray[Any]:
    """Return the (resamples, m) means: summed totals (k, m) over summed sizes (k,) of ``draws`` groups each.

    Computed in blocks to bound the memory.
    """
    generator, groups = rng.numpy(), len(size)
    block = max(1, DRAWS_HELD // groups)
    means = np.empty((resamples, total.shape[1]))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = generator.integers(groups, size=(count, draws)) + np.arange(count)[:, None] * groups
        times = np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups).astype(float)
        means[start : start + count] = (times @ total) / (times @ size)[:, None]
    return means


def holm(p: Sequence[float]) -> NDArray[Any]:
    """Return Holm's step-down adjustment of p-values; NaN stays NaN and is not counted."""
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p, dtype=float)
    known = ~np.isnan(values)
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = multipletests(values[known], method="holm")[1]
    return out
