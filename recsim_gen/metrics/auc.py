"""Area under the ROC curve, with an interval from drawing whole people again."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import Estimate


def auc(label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """P(score of a liked one > score of another), ties count half; rows may have a ``weight`` (n,).

    ``label`` (n,) bool. NaN where one of the two kinds has no weight.
    """
    _, place = np.unique(score, return_inverse=True)
    weight = np.ones(len(label)) if weight is None else weight
    return _auc(np.asarray(label, dtype=bool), place, weight)


def _auc(label: np.ndarray, place: np.ndarray, weight: np.ndarray) -> float:
    """The same of scores given by their place among the different ones."""
    size = int(place.max()) + 1
    liked = np.bincount(place[label], weights=weight[label], minlength=size)
    other = np.bincount(place[~label], weights=weight[~label], minlength=size)
    pairs = liked.sum() * other.sum()
    below = np.cumsum(other) - other / 2
    return float(liked @ below / pairs) if pairs > 0 else float("nan")


def auc_interval(
    label: np.ndarray, score: np.ndarray, clusters: np.ndarray, rng: Rng, *, resamples: int = 1000
) -> Estimate:
    """AUC with its 95% percentile interval over resampled ``clusters`` (n,), and p against 0.5.

    Raises DataError where all labels are equal. With one cluster the interval is not known: NaN.
    """
    label = np.asarray(label, dtype=bool)
    if label.all() or not label.any():
        raise DataError(f"an AUC wants liked and other rows, got {int(label.sum())} of {len(label)} liked")
    _, place = np.unique(score, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    value, count = _auc(label, place, np.ones(len(label))), int(cluster.max()) + 1
    if count < 2:
        return Estimate(value, np.nan, np.nan, np.nan, len(label))
    generator = rng.for_("auc").numpy()
    drawn = np.array(
        [
            _auc(label, place, np.bincount(generator.integers(count, size=count), minlength=count)[cluster])
            for _ in range(resamples)
        ]
    )
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min((drawn <= 0.5).sum(), (drawn >= 0.5).sum())
    p = min(1.0, 2 * max(tail, 0.5) / (len(drawn) + 1))
    return Estimate(value, float(low), float(high), float(p), len(label))
