"""Average precision of query images that retrieve their identity from a gallery, and its chance level.

The measure of Kilrain et al., "Finer-Personalization Rank": a query ranks the real images of a gallery by
cosine distance, and those of its own identity should come first.
"""

from __future__ import annotations

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.vectors import unit

TIED = float(np.finfo(np.float32).eps)
"""Distances that differ by at most this are ties: float32 features cannot distinguish them."""

CELLS_HELD = 1 << 20  # distances ranked at once


def checked_unit(x: np.ndarray) -> np.ndarray:
    """Return the rows of ``x`` (k, d) scaled to norm 1, float64.

    Raises DataError for a row whose norm is 0 or not finite.
    """
    x = np.asarray(x, dtype=np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    bad = ~(np.isfinite(norm) & (norm > 0))[:, 0]
    if bad.any():
        got = norm[bad.argmax(), 0]
        raise DataError(
            f"features of positive, finite norm are wanted, got norm {got:g} in row {int(bad.argmax())}",
            remedy="Cosines need a direction: use another encoder",
        )
    return unit(x)


def average_precision(
    distance: np.ndarray, relevant: np.ndarray, eligible: np.ndarray | None = None
) -> np.ndarray:
    """Return the (B,) AP = Σ_k P@k · rel(k) / R in [0, 1] with R relevant images; 0 if there are none.

    The order of images with tied distances is arbitrary, so the value is the exact mean over all their
    orders: it depends neither on the order of the gallery nor on the sorting algorithm. Without ties it
    equals scikit-learn's `average_precision_score` of −distance.

    Parameters
    ----------
    distance
        (B, n) distances, smallest first.
    relevant
        (B, n) bool.
    eligible
        (B, n) or (n,) bool: images that take part; default all.

    Raises
    ------
    DataError
        If shapes differ or a distance is not finite.
    """
    distance, relevant = np.asarray(distance, dtype=np.float64), np.asarray(relevant, dtype=bool)
    if distance.ndim != 2 or relevant.shape != distance.shape or distance.shape[1] == 0:
        raise DataError(
            f"distance and relevant must be (B, n), got {distance.shape} and {relevant.shape}",
            remedy="Give one row per query and one column per picture of the gallery",
        )
    if not np.isfinite(distance).all():
        raise DataError("distances must be finite, got NaN or infinity")
    if eligible is not None:  # ranked last and not relevant
        relevant = relevant & eligible
        distance = np.where(eligible, distance, distance.max(initial=0.0) + 1)
    block = max(1, CELLS_HELD // distance.shape[1])
    parts = [
        _average_precision(distance[start : start + block], relevant[start : start + block])
        for start in range(0, len(distance), block)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _average_precision(distance: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the expected sum of P@k · rel(k), by linearity.

    Let r of the m images of a tied block be relevant, with ``before`` relevant ones ahead of it. The block's
    j-th place is relevant with probability r/m, and given that, the j − 1 places above it in the block hold
    (j − 1)(r − 1)/(m − 1) relevant images on average.
    """
    order = np.argsort(distance, axis=1)
    distance = np.take_along_axis(distance, order, axis=1)
    relevant = np.take_along_axis(relevant, order, axis=1)
    rows, n = distance.shape
    place = np.arange(1, n + 1)
    edge = np.ones((rows, n + 1), dtype=bool)
    edge[:, 1:-1] = np.diff(distance, axis=1) > TIED
    first = np.maximum.accumulate(np.where(edge[:, :-1], place, 0), axis=1)
    last = np.minimum.accumulate(np.where(edge[:, 1:], place, n)[:, ::-1], axis=1)[:, ::-1]
    so_far = np.concatenate([np.zeros((rows, 1)), np.cumsum(relevant, axis=1)], axis=1)
    before = np.take_along_axis(so_far, first - 1, axis=1)
    tied_relevant = np.take_along_axis(so_far, last, axis=1) - before
    tied = last - first + 1
    above = (place - first) * (tied_relevant - 1) / np.maximum(tied - 1, 1)
    gain = tied_relevant / tied * (before + 1 + above) / place
    return gain.sum(axis=1) / np.maximum(so_far[:, -1], 1)


def chance_level(relevant: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the expected AP of a random order of ``size`` images of which ``relevant`` are; same shapes.

    Exact: (H + (R − 1)/(n − 1) · (n − H)) / n with R relevant of n and H = 1 + 1/2 + … + 1/n; equals
    `average_precision` with all n tied. 0 if nothing is relevant. It increases as the gallery shrinks: 5
    identities of 10 images give 0.257, 15 of 10 give 0.095.
    """
    r, n = np.broadcast_arrays(np.asarray(relevant, dtype=np.float64), np.asarray(size, dtype=np.int64))
    if (n < 1).any() or (r < 0).any() or (r > n).any():
        raise DataError("0 to n of n ≥ 1 pictures can be relevant, got other numbers")
    harmonic = np.cumsum(1 / np.arange(1, n.max(initial=1) + 1))[n - 1]
    level = (harmonic + (r - 1) / np.maximum(n - 1, 1) * (n - harmonic)) / n
    return np.where(r > 0, level, 0.0)
