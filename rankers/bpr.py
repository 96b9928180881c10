"""Matrix factorisation trained by BPR; does not use images.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009. Initial weights, loss
and training are those of RecBole 1.2.1.
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
from rankers.training.columns import ALONE, Columns
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch

FLOOR = 1e-10  # added to a probability before its logarithm


def padded_embeddings(sizes: Sequence[int], d: int, init: Callable[[Tensor], Tensor]) -> list[nn.Embedding]:
    """Return one embedding (size, d) for each of ``sizes``, initialised by ``init``.

    RecBole's tables have a first row for padding. It is drawn here too and then dropped, so that the other
    rows are equal to RecBole's.
    """
    drawn = [nn.Embedding(1 + size, d) for size in sizes]
    weights = [init(table.weight).detach()[1:].clone() for table in drawn]
    return [nn.Embedding.from_pretrained(weight, freeze=False) for weight in weights]


def floored_bpr(u: Tensor, positive: Tensor, negative: Tensor, columns: Columns = ALONE) -> Tensor:
    """Return −mean log(1e-10 + σ(u·p − u·n)) over rows (B, d), of which this process holds ``columns``."""
    better = columns.sum((u * positive).sum(1) - (u * negative).sum(1))
    return -torch.log(FLOOR + better.sigmoid()).mean()


class BPR(TableModel):
    """Matrix factorisation: score(u, i) = e_u · e_i."""

    config_class = BPRConfig
    settings: BPRConfig

    def __init__(self, settings: BPRConfig, data: TrainingData) -> None:
        super().__init__(settings, data)
        sizes = (self.n_users, self.n_items)
        self.user_embedding, self.item_embedding = padded_embeddings(
            sizes, settings.embedding_size, nn.init.xavier_normal_
        )

    def tables(self) -> list[nn.Embedding]:
        """Return both embeddings."""
        return [self.user_embedding, self.item_embedding]

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return both embedding tables."""
        return self.whole(self.user_embedding.weight, self.item_embedding.weight)

    def loss(self, batch: Batch) -> Tensor:
        """Return the BPR loss of a batch, without regularisation."""
        items = self.item_embedding
        rows = self.user_embedding(batch.user), items(batch.positive), items(batch.negative)
        return floored_bpr(*rows, self.columns)


class BPRRanker(LearnedRanker):
    """BPR as a `Ranker`; the vector of a new user is the mean embedding of the chosen items."""

    name = "bpr"
    model_class = BPR
    config_class = BPRConfig
    training_version = 5
    model: BPR

    def _new_users(self, histories: Sequence[np.ndarray]) -> Tensor:
        items = self._tables()[1]
        size = torch.tensor([len(h) for h in histories], device=items.device)[:, None]
        return (history_matrix(histories, len(items), items.device) @ items) / size
