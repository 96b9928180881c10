"""Base of models whose scores are products of a user table and an item table."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rankers.training.model import RankerModel


class TableModel(RankerModel):
    """Model with score(u, i) = users[u] · items[i]; subclasses implement ``forward`` and ``loss``."""

    _final: tuple[Tensor, Tensor] | None = None

    def forward(self) -> tuple[Any, ...]:
        """Return final users (U, d), final items (n, d), and whatever else the loss needs."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> TableModel:
        """Set the mode and drop the cached final tables."""
        self._final = None
        return super().train(mode)

    def whole(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return tables with all columns, of which this process holds its own; without a gradient."""
        return self.columns.whole(users), self.columns.whole(items)

    def bpr(self, u: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return −mean log σ(u·(p − n)) + reg_weight·½Σx²/B over rows (B, d) (Rendle et al., 2009)."""
        loss = -F.logsigmoid(self.columns.sum((u * (positive - negative)).sum(1))).mean()
        square = (u.square().sum() + positive.square().sum() + negative.square().sum()) / 2
        return loss + self.settings.reg_weight * self.columns.sum(square) / len(u)

    @torch.no_grad()
    def final(self) -> tuple[Tensor, Tensor]:
        """Return final users and items, cached until training continues."""
        if self._final is None:
            users, items, *_ = self.forward()
            self._final = users, items
        return self._final

    def scores(self, users: Tensor) -> Tensor:
        """Return the (B, n) products of the final tables."""
        table, items = self.final()
        return table[users] @ items.T
