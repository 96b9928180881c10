"""What most models of this package share: a score is the product of two tables."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rankers.training.model import RankerModel


class TableModel(RankerModel):
    """score(u, i) = users[u] · items[i], learned from pairs. A subclass gives ``forward`` and ``loss``."""

    _final: tuple[Tensor, Tensor] | None = None

    def forward(self) -> tuple[Any, ...]:
        """Final users (U, d), final items (n, d), and what else a loss needs."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> TableModel:
        """Switching to training or to evaluation forgets the final tables."""
        self._final = None
        return super().train(mode)

    def bpr(self, u: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """−mean log σ(u·(p − n)) + reg_weight·½Σx²/B over rows (B, d) of the tables (Rendle et al., 2009)."""
        loss = -F.logsigmoid((u * (positive - negative)).sum(1)).mean()
        square = (u.square().sum() + positive.square().sum() + negative.square().sum()) / 2
        return loss + self.settings.reg_weight * square / len(u)

    @torch.no_grad()
    def final(self) -> tuple[Tensor, Tensor]:
        """Final users and items, kept until training goes on."""
        if self._final is None:
            users, items, *_ = self.forward()
            self._final = users, items
        return self._final

    def scores(self, users: Tensor) -> Tensor:
        """(B, n) products of the final tables."""
        table, items = self.final()
        return table[users] @ items.T
