"""Intervals and tests, in one place: clustered bootstrap, paired differences, Holm.

Rows of one person are not independent, so people (clusters), not rows, are drawn again; neither are rows of
one training, so where several trainings are averaged, trainings are drawn again, too.
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
    """A mean, its percentile interval, a two-sided p-value against 0, and the number of rows.

    Of several trainings: ``n`` is the most rows that one has, and ``signs`` the sign of each training's own
    mean, in their order: ``+ + −``.
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    signs: str = ""

    def decided(self, p: float, level: float = 0.05) -> int:
        """1: above 0, −1: below, by ``p`` (this one's own, or adjusted); 0: undecided.

        Undecided, too, where trainings differ in sign: what one of them denies is not shown.
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
    """`bootstrap_columns` of a single column ``values`` (B,)."""
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
    """Mean of each column of ``values`` (B, m), with an interval from drawing whole ``clusters`` (B,) again.

    Each resample draws as many clusters as there are, with replacement, and takes the mean of all
    their rows; all columns share the draws. p = 2·min(share ≤ 0, share ≥ 0), at least
    1/(resamples + 1). With one cluster the interval is not known: NaN. Raises DataError for NaN
    values or differing lengths.

    ``trainings`` (B,), such as seeds, names the training that each row comes from. Of S > 1 trainings each
    resample also draws S − 1 of their means with replacement (so many give the variance of a mean of S
    without bias: Rao and Wu, JASA 1988) and adds how far these are from all. So the variances of people and
    of trainings add up; what both share counts twice, which is the safe side (Cameron, Gelbach and Miller,
    JBES 2011, subtract it). The interval is then for another training of the same kind; of one training, for
    that one alone. Few trainings know little of their spread: where they alone vary, three of them hold the
    truth three times in four, so look at ``signs``, too.
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
    """Of each column of ``means`` (S, m) the signs of its trainings; "" of a single one."""
    if len(means) < 2:
        return [""] * means.shape[1]
    return [" ".join("−0+"[int(s) + 1] for s in column) for column in np.sign(means).T.tolist()]


def _sums(values: NDArray[Any], group: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum of ``values`` (B, m) over each group (k, m), and how many rows each has (k,)."""
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    total = np.zeros((len(size), values.shape[1]))
    np.add.at(total, place, values)
    return total, size


def _resampled_means(
    total: NDArray[Any], size: NDArray[Any], draws: int, rng: Rng, resamples: int
) -> NDArray[Any]:
    """(resamples, m) ratio of summed totals (k, m) to summed sizes (k,) of ``draws`` groups each.

    Drawn in blocks of bounded memory.
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
    """Holm's step-down adjustment of p-values (NaN stays NaN and does not count)."""
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p, dtype=float)
    known = ~np.isnan(values)
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = multipletests(values[known], method="holm")[1]
    return out
