"""Cumulative match: how often the first k pictures that a query finds hold one of its own; k = 1: rank-1.

The characteristic of re-identification (CMC) that stands beside mAP in that field.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from recsim_gen.metrics.identity.average_precision import TIED


def cumulative_match(
    distance: np.ndarray, relevant: np.ndarray, ks: Sequence[int], eligible: np.ndarray | None = None
) -> np.ndarray:
    """(B, len(ks)) in [0, 1]: 1 where one of the ``k`` nearest pictures is relevant, 0 where none is.

    ``distance``, ``relevant``, ``eligible`` as in `average_precision`, ties as there: where the k-th place
    falls among pictures as near as the nearest relevant one, the value is the share of their orders in
    which one of these comes in time.
    """
    distance, relevant = np.asarray(distance, dtype=np.float64), np.asarray(relevant, dtype=bool)
    allowed = np.broadcast_to(True if eligible is None else eligible, distance.shape)
    relevant = relevant & allowed
    first = np.where(relevant, distance, np.inf).min(axis=1, initial=np.inf)[:, None]
    there = np.isfinite(first)
    bound = np.where(there, first, 0.0)
    tied = allowed & (np.abs(distance - bound) <= TIED)
    before = (allowed & (distance < bound - TIED)).sum(axis=1)[:, None]
    size, right = tied.sum(axis=1)[:, None], (relevant & tied).sum(axis=1)[:, None]
    places = np.clip(np.asarray(ks)[None] - before, 0, size)
    return np.where(there, 1 - _none_of(size, right, places), 0.0)


def match_chance(relevant: np.ndarray, size: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """(B, len(ks)) of a random order of ``size`` (B,) pictures of which ``relevant`` (B,) are.

    1 − C(n − R, k) / C(n, k); R / n for k = 1.
    """
    n, r = np.asarray(size)[:, None], np.asarray(relevant)[:, None]
    return 1 - _none_of(n, r, np.minimum(np.asarray(ks)[None], n))


def _none_of(n: np.ndarray, r: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Probability that ``k`` of ``n`` drawn without replacement are none of ``r``: C(n − r, k) / C(n, k)."""
    n, r, k = np.broadcast_arrays(n, r, k)
    possible = k <= n - r
    safe = np.where(possible, k, 0)
    log = gammaln(n - r + 1) - gammaln(n - r - safe + 1) - gammaln(n + 1) + gammaln(n - safe + 1)
    return np.where(possible, np.exp(log), 0.0)
