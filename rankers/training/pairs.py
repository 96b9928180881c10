"""Training pairs of rankers: a choice, and an item that the same user did not choose.

All draws depend on one seed, and are those of RecBole 1.2.1 with this seed: the order of the choices (torch's
`RandomSampler`) and the negatives (numpy's global generator; here, a separate one).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rankers.configs import Training

Rows = tuple[np.ndarray, np.ndarray]


class Batch(NamedTuple):
    """A batch of (B,) rows: users, an item that each chose, and one that they did not choose."""

    user: Tensor
    positive: Tensor
    negative: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(*(rows.to(device) for rows in self))


class Pairs:
    """Batches of an epoch; each iteration draws a new epoch.

    ``sampling`` of the config: ``interaction`` uses each choice once, in random order; ``user`` and
    ``user-repeated`` draw ⌊choices / batch⌋ + 1 batches of users, and one choice of each.
    """

    def __init__(self, user: np.ndarray, item: np.ndarray, n_items: int, config: Training, seed: int) -> None:
        self.user, self.item, self.n_items = user, item, n_items
        self.size, self.sampling = config.train_batch_size, config.sampling
        self._keys = np.sort(user * n_items + item)
        self._order = torch.Generator().manual_seed(seed)
        self._draw = np.random.RandomState(seed)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        m = len(self.user)
        return -(-m // self.size) if self.sampling == "interaction" else m // self.size + 1

    def __iter__(self) -> Iterator[Batch]:
        for user, positive in self._by_interaction() if self.sampling == "interaction" else self._by_user():
            yield Batch(*(torch.from_numpy(rows) for rows in (user, positive, self._negatives(user))))

    def _by_interaction(self) -> Iterator[Rows]:
        torch.empty((), dtype=torch.int64).random_(generator=self._order)  # as a DataLoader, for its workers
        order = torch.randperm(len(self.user), generator=self._order).numpy()
        torch.randperm(len(self.user), generator=self._order)  # as a RandomSampler, which uses none of it
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            yield self.user[rows], self.item[rows]

    def _by_user(self) -> Iterator[Rows]:
        order = np.argsort(self.user, kind="stable")
        users, start, count = np.unique(self.user[order], return_index=True, return_counts=True)
        for _ in range(len(self)):
            if self.sampling == "user-repeated" and self.size > len(users):
                pick = self._draw.randint(len(users), size=self.size)
            else:
                pick = self._draw.permutation(len(users))[: self.size]
            place = start[pick] + (self._draw.random_sample(len(pick)) * count[pick]).astype(int)
            yield users[pick], self.item[order[place]]

    def _negatives(self, user: np.ndarray) -> np.ndarray:
        """Return (B,) items, uniform over those that each user did not choose in training."""
        negative = self._draw.randint(self.n_items, size=len(user))
        again = np.flatnonzero(self._chosen(user, negative))
        while len(again):
            negative[again] = self._draw.randint(self.n_items, size=len(again))
            again = again[self._chosen(user[again], negative[again])]
        return negative

    def _chosen(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return (B,) whether each pair is a choice of training."""
        key = user * self.n_items + item
        order = key.argsort()  # those of a place are searched one after the other, in the cache
        place = np.searchsorted(self._keys, key[order]).clip(max=len(self._keys) - 1)
        chosen = np.empty(len(key), dtype=bool)
        chosen[order] = self._keys[place] == key[order]
        return chosen
