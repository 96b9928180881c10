"""What the training loop needs of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rankers.configs import Training
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch


class RankerModel(nn.Module):
    """A module that learns from pairs and scores items; ``settings`` say how it is trained."""

    config_class: ClassVar[type[Training]]
    adds_up: bool = True
    """Whether ``loss`` of a batch is the mean of its parts' losses, by size, whatever is drawn.

    Processes share the work of such a model; of another, each does all.
    """

    def __init__(self, settings: Training, data: TrainingData) -> None:
        super().__init__()
        self.settings: Any = settings
        self.n_users, self.n_items, self.device = data.n_users, data.n_items, data.device

    def loss(self, batch: Batch) -> Tensor:
        """Loss of a batch, a scalar: the mean over its pairs, and what does not depend on them."""
        raise NotImplementedError

    def scores(self, users: Tensor) -> Tensor:
        """(B, n) scores of all items for known users (B,), which belong to the caller."""
        raise NotImplementedError

    def lists(self) -> dict[str, Tensor]:
        """Return lists of items (n, k) that belong to the weights and cannot be found again exactly."""
        return {}

    def take(self, lists: Mapping[str, Tensor]) -> None:
        """Use the `lists` that were saved with the weights; the model was built of them, too."""

    def optimizer(self) -> torch.optim.Optimizer:
        """Return what changes the weights at each step."""
        return torch.optim.Adam(self.parameters(), lr=self.settings.learning_rate)


@contextmanager
def drawn_apart() -> Iterator[None]:
    """What is drawn inside leaves all that is drawn elsewhere the same: for weights of features' shapes."""
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
        torch.default_generator.manual_seed(torch.initial_seed() + 1)
        yield
