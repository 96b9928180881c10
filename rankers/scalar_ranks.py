"""Ranks of single scores in a list: counted, or searched in a sorted list."""

from __future__ import annotations

import numpy as np

from rankers.counterfactual import TIE

SORTED_FROM = 16  # number of scores above which sorting the list is faster than counting


def rank_among(others: np.ndarray, score: np.ndarray, own: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return 1 + how many of ``others`` are above ``score`` (B,); ties count ½.

    ``others`` must be sorted if there are more than `SORTED_FROM` scores. ``own`` (B,) scores are among the
    others where ``inside``, and do not count: an item is not compared with itself.
    """
    if len(score) > SORTED_FROM:
        high = len(others) - np.searchsorted(others, score + TIE, side="right")
        near = len(others) - np.searchsorted(others, score - TIE, side="left")
    else:
        high = np.array([np.count_nonzero(others > s + TIE) for s in score])
        near = np.array([np.count_nonzero(others >= s - TIE) for s in score])
    apart = own - score
    high = high - inside * (apart > TIE)
    near = near - inside * (apart >= -TIE)
    rank: np.ndarray = 1 + (high + near) / 2
    return rank
