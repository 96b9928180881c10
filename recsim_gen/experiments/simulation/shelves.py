"""Lists of a ranker for all people, and its recall of the test choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_gen.core.ranking import refuse_nan
from recsim_gen.metrics.evaluation import SCORES_HELD, mask_of

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.types import Interactions

RECALL_AT = 20


class Shelves(NamedTuple):
    """``lists`` (P, L) item rows, best first; ``scores`` (P, L) float32; ``recall`` (P,) at `RECALL_AT`.

    Recall is of the test choices, NaN for people without one.
    """

    lists: np.ndarray
    scores: np.ndarray
    recall: np.ndarray


def shelves(ranker: Ranker, interactions: Interactions, people: np.ndarray, length: int) -> Shelves:
    """Return the best ``length`` items of ``people`` (P,) rows, without their choices of any split.

    Test items are never shown, so that the ranker can be evaluated on them after every round. People are
    scored in blocks of bounded memory.
    """
    import torch

    n = interactions.n_items
    known, held = interactions.only("train", "valid"), interactions.only("test")
    block = max(1, SCORES_HELD // n)
    parts = []
    for start in range(0, len(people), block):
        rows = people[start : start + block]
        scores = ranker.score(rows)
        refuse_nan(scores)
        scores[torch.from_numpy(mask_of(rows, *known, n)).to(scores.device)] = -torch.inf
        relevant = mask_of(rows, *held, n)
        first = torch.topk(scores, min(RECALL_AT, n), dim=1).indices.cpu().numpy()
        hits, count = np.take_along_axis(relevant, first, 1).sum(1), relevant.sum(1)
        recall = np.where(count > 0, hits / np.maximum(count, 1), np.nan)
        scores[torch.from_numpy(relevant).to(scores.device)] = -torch.inf
        best = torch.topk(scores, length, dim=1)
        parts.append(Shelves(best.indices.cpu().numpy(), best.values.cpu().numpy(), recall))
    return Shelves(*(np.concatenate(column) for column in zip(*parts, strict=True)))
