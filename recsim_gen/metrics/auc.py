"""Area under the ROC curve, overall and within groups, with an interval from resampling people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import Estimate

CHANCE = 0.5


def auc(label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return P(score of a liked row > score of another), ties count half.

    ``label`` (n,) bool; ``weight`` (n,) optional weights of rows. NaN if one of the two classes has no
    weight.
    """
    _, place = np.unique(score, return_inverse=True)
    weight = np.ones(len(label)) if weight is None else weight
    return _auc(np.asarray(label, dtype=bool), place, weight)


def _auc(label: np.ndarray, place: np.ndarray, weight: np.ndarray) -> float:
    """Return the AUC of scores given as ranks among the distinct values."""
    if not len(label):
        return float("nan")
    size = int(place.max()) + 1
    liked = np.bincount(place[label], weights=weight[label], minlength=size)
    other = np.bincount(place[~label], weights=weight[~label], minlength=size)
    pairs = liked.sum() * other.sum()
    below = np.cumsum(other) - other / 2
    return float(liked @ below / pairs) if pairs > 0 else float("nan")


def auc_within(label: np.ndarray, score: np.ndarray, group: np.ndarray) -> pd.Series:
    """Return the AUC inside each group; a group with rows of only one class is left out.

    Mann and Whitney: (Σ ranks of the liked − l (l + 1) / 2) / (l (n − l)), with l of n rows liked; ranks are
    1-based within the group and averaged over ties.
    """
    frame = pd.DataFrame({"group": group, "liked": np.asarray(label, dtype=bool), "score": score})
    frame["rank"] = frame.groupby("group")["score"].rank() * frame["liked"]
    sums = frame.groupby("group").agg(rank=("rank", "sum"), liked=("liked", "sum"), n=("liked", "size"))
    sums = sums[(sums["liked"] > 0) & (sums["liked"] < sums["n"])]
    values = (sums["rank"] - sums["liked"] * (sums["liked"] + 1) / 2) / (
        sums["liked"] * (sums["n"] - sums["liked"])
    )
    return values.rename("auc")


def auc_interval(
    label: np.ndarray,
    score: np.ndarray,
    clusters: np.ndarray,
    rng: Rng,
    *,
    trainings: np.ndarray | None = None,
    resamples: int = 1000,
) -> Estimate:
    """Return the AUC with its 95% percentile interval over resampled ``clusters`` (n,), and p against 0.5.

    With ``trainings`` (n,), such as seeds, the AUC is the mean over trainings, which are resampled too, as by
    `statistics.bootstrap_columns`. Raises DataError if all labels of a training are equal. With one cluster
    the interval is unknown: NaN.
    """
    label, score = np.asarray(label, dtype=bool), np.asarray(score)
    _, cluster = np.unique(clusters, return_inverse=True)
    count = int(cluster.max()) + 1
    parts = []
    for training in np.unique(np.zeros(len(label)) if trainings is None else trainings):
        rows = slice(None) if trainings is None else np.asarray(trainings) == training
        mine = label[rows]
        if mine.all() or not mine.any():
            raise DataError(f"an AUC wants liked and other rows, got {int(mine.sum())} of {len(mine)} liked")
        parts.append((mine, np.unique(score[rows], return_inverse=True)[1], cluster[rows]))
    values = np.array([_auc(mine, place, np.ones(len(mine))) for mine, place, _ in parts])
    value, n = float(values.mean()), max(len(mine) for mine, _, _ in parts)
    if count < 2:
        return Estimate(value, np.nan, np.nan, np.nan, n)
    generator = rng.for_("auc").numpy()
    drawn = np.empty((resamples, len(parts)))
    for row in range(resamples):  # all trainings share the resampled people
        weight = np.bincount(generator.integers(count, size=count), minlength=count).astype(float)
        drawn[row] = [_auc(mine, place, weight[who]) for mine, place, who in parts]
    means = drawn.mean(1)
    if len(parts) > 1:
        again = rng.for_("trainings").numpy().choice(values, (resamples, len(parts) - 1))
        means += again.mean(1) - value
    means = means[~np.isnan(means)]
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= CHANCE).sum(), (means >= CHANCE).sum())
    p = min(1.0, 2 * max(tail, 0.5) / (len(means) + 1))
    return Estimate(value, float(low), float(high), float(p), n)
