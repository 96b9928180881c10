"""Base of models in training: what the training loop needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from rankers.configs import Training
from rankers.sparse_rows import is_large
from rankers.training.columns import ALONE, Columns
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch
from recsim_gen.core.processes import Team


class RankerModel(nn.Module):
    """A module that is trained on pairs and scores items; ``settings`` are those of its training."""

    config_class: ClassVar[type[Training]]
    adds_up: bool = True
    """Whether ``loss`` of a batch is the mean of its parts' losses, weighted by size, whatever is drawn.

    Processes then share the batches; otherwise, each computes all of them. Those that share columns of tables
    (`divide`) do not share the batches.
    """
    columns: Columns = ALONE

    def __init__(self, settings: Training, data: TrainingData) -> None:
        super().__init__()
        self.settings: Any = settings
        self.n_users, self.n_items, self.device = data.n_users, data.n_items, data.device

    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch: the mean over its pairs, plus what does not depend on them."""
        raise NotImplementedError

    def scores(self, users: Tensor) -> Tensor:
        """Return (B, n) scores of all items for known users (B,); the caller may change them."""
        raise NotImplementedError

    def tables(self) -> list[nn.Embedding]:
        """Return tables (n, d) whose columns processes may share, all of one width; []: they share pairs."""
        return []

    def divide(self, team: Team) -> None:
        """Keep this process's columns of the `tables`; inside, all processes call methods alike."""
        if team.count > 1 and self.tables():
            self.columns = Columns(self.tables()[0].embedding_dim, team.index, team.count)
            for table in self.tables():
                table.weight = nn.Parameter(self.columns.own(table.weight.detach()))

    def unite(self) -> None:
        """Hold all columns of the `tables` again."""
        for table in self.tables() if self.columns.shared else ():
            table.weight = nn.Parameter(self.columns.whole(table.weight))
        self.columns = ALONE

    def lists(self) -> dict[str, Tensor]:
        """Return lists of items (n, k) that belong to the weights and cannot be found again exactly."""
        return {}

    def take(self, lists: Mapping[str, Tensor]) -> None:
        """Use the `lists` that were saved with the weights; the model was built of them, too."""

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam of the weights; it passes over large ones once, which rounds otherwise."""
        weights = [*self.parameters()]
        large = any(is_large(*weight.shape, self.columns.count) for weight in weights)
        adam = torch.optim.Adam(weights, lr=self.settings.learning_rate, fused=large or None)
        if large:  # else such steps would not count as changes of the weights
            adam.register_step_post_hook(lambda *_: increment_version(weights))
        return adam


@contextmanager
def drawn_apart() -> Iterator[None]:
    """Draw random numbers inside without changing those outside.

    For weights whose shapes depend on features.
    """
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
        torch.default_generator.manual_seed(torch.initial_seed() + 1)
        yield
