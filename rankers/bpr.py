"""Matrix factorisation learned from pairs; blind to images.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009. The numbers are those of
RecBole 1.2.1: its initial weights, its loss, its training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rankers.configs import BPRConfig
from rankers.fold_in import history_matrix
from rankers.learned_ranker import LearnedRanker
from rankers.table_model import TableModel
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch

FLOOR = 1e-10  # of a probability whose logarithm is taken


def padded_embeddings(sizes: Sequence[int], d: int, init: Callable[[Tensor], Tensor]) -> list[nn.Embedding]:
    """One embedding (size, d) for each of ``sizes``, drawn by ``init``.

    RecBole has a row more, the first, for padding. It is drawn here too and then dropped, so that the others
    are RecBole's.
    """
    drawn = [nn.Embedding(1 + size, d) for size in sizes]
    weights = [init(table.weight).detach()[1:].clone() for table in drawn]
    return [nn.Embedding.from_pretrained(weight, freeze=False) for weight in weights]


def floored_bpr(u: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """−mean log(1e-10 + σ(u·p − u·n)) over rows (B, d)."""
    better = (u * positive).sum(1) - (u * negative).sum(1)
    return -torch.log(FLOOR + better.sigmoid()).mean()


class BPR(TableModel):
    """score(u, i) = e_u · e_i."""

    config_class = BPRConfig
    settings: BPRConfig

    def __init__(self, settings: BPRConfig, data: TrainingData) -> None:
        super().__init__(settings, data)
        sizes = (self.n_users, self.n_items)
        self.user_embedding, self.item_embedding = padded_embeddings(
            sizes, settings.embedding_size, nn.init.xavier_normal_
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        """Both embeddings."""
        return self.user_embedding.weight, self.item_embedding.weight

    def loss(self, batch: Batch) -> Tensor:
        """BPR without regularisation."""
        items = self.item_embedding
        return floored_bpr(self.user_embedding(batch.user), items(batch.positive), items(batch.negative))


class BPRRanker(LearnedRanker):
    """BPR behind the `Ranker` protocol; a new user is the mean of the items chosen."""

    name = "bpr"
    model_class = BPR
    config_class = BPRConfig
    training_version = 5
    model: BPR

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        items = self._tables()[1]
        size = torch.tensor([len(h) for h in histories], device=items.device)[:, None]
        return (history_matrix(histories, len(items), items.device) @ items) / size
