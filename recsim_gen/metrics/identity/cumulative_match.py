"""Cumulative match: how often the first k images retrieved include one of the query's own; k = 1: rank-1.

The cumulative match characteristic (CMC) of re-identification, reported there beside mAP.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from recsim_gen.metrics.identity.average_precision import TIED


def cumulative_match(
    distance: np.ndarray, relevant: np.ndarray, ks: Sequence[int], eligible: np.ndarray | None = None
) -> np.ndarray:
    """Return (B, len(ks)) in [0, 1]: 1 if one of the ``k`` nearest images is relevant, else 0.

    ``distance``, ``relevant``, ``eligible`` and ties as for `average_precision`: if the k-th place is among
    images as near as the nearest relevant one, the value is the share of their orders in which a relevant one
    is among the first k.
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
    """Return the (B, len(ks)) values for a random order of ``size`` (B,) images, ``relevant`` (B,) of them.

    1 − C(n − R, k) / C(n, k); R / n for k = 1.
    """
    n, r = np.asarray(size)[:, None], np.asarray(relevant)[:, None]
    return 1 - _none_of(n, r, np.minimum(np.asarray(ks)[None], n))


def _none_of(n: np.ndarray, r: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the probability that ``k`` of ``n`` drawn without replacement include none of ``r``.

    C(n − r, k) / C(n, k).
    """
    n, r, k = np.broadcast_arrays(n, r, k)
    possible = k <= n - r
    safe = np.where(possible, k, 0)
    log = gammaln(n - r + 1) - gammaln(n - r - safe + 1) - gammaln(n + 1) + gammaln(n - safe + 1)
    return np.where(possible, np.exp(log), 0.0)
