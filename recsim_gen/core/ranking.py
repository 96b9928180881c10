"""Ranks, and ranking metrics based on them.

A rank is 1-based among the eligible items: masked items are excluded, ties get the average rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import torch


def ranks(scores: torch.Tensor, item: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Return the (B,) rank of ``item`` (B,) in each row of ``scores`` (B, n), float64 (halves for ties).

    ``masked`` (B, n) bool: items to exclude; the item itself always takes part. Raises DataError if a score
    is NaN.
    """
    import torch

    refuse_nan(scores)
    row = torch.arange(len(scores), device=scores.device)
    own = scores[row, item][:, None]
    contest = ~masked
    contest[row, item] = False
    above = ((scores > own) & contest).sum(1)
    tied = ((scores == own) & contest).sum(1)
    return 1 + above.double() + tied.double() / 2


def refuse_nan(scores: torch.Tensor) -> None:
    """Raise DataError if a score is NaN, since NaN would rank first or last by accident."""
    if scores.isnan().any():
        raise DataError(
            "scores must be numbers, got NaN", remedy="Was the ranker trained with negative_cosine=keep?"
        )


def recall_at(rank: NDArray[Any], k: int) -> NDArray[Any]:
    """Return Recall@k of a single relevant item: 1 if rank ≤ k, else 0."""
    return (rank <= k).astype(float)


def ndcg_at(rank: NDArray[Any], k: int) -> NDArray[Any]:
    """Return NDCG@k of a single relevant item: 1/log₂(1 + rank) if rank ≤ k, else 0; in [0, 1]."""
    return np.where(rank <= k, 1 / np.log2(1 + rank), 0.0)


def per_user(hits: NDArray[Any], relevant: NDArray[Any], ks: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return Recall@k, NDCG@k and NDCG-retrieved@k of users with any number of relevant items.

    ``hits`` (B, max k) bool: whether the item at each place of the ranked list is relevant; ``relevant`` (B,)
    their total number. The ideal list of NDCG holds all relevant items. ``ndcg_retrieved`` takes the ideal
    from the retrieved hits, as MICRO's published code does: it inflates the value and is only for comparison.
    """
    if (relevant < 1).any():
        raise DataError(
            "every user must have a relevant item, got one without", row=int((relevant < 1).argmax())
        )
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    hits_so_far, gains = np.cumsum(hits, axis=1), np.cumsum(hits * discount, axis=1)
    out: dict[str, NDArray[Any]] = {}
    for k in ks:
        last = min(k, hits.shape[1]) - 1
        retrieved, gain = hits_so_far[:, last], gains[:, last]
        out[f"recall@{k}"] = retrieved / relevant
        out[f"ndcg@{k}"] = gain / ideal[np.minimum(relevant, k)]
        out[f"ndcg_retrieved@{k}"] = np.divide(
            gain, ideal[retrieved], out=np.zeros(len(gain)), where=retrieved > 0
        )
    return out
