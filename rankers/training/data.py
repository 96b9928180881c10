"""Training data of rankers: choices of the train split, and item features; the test split is not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Interactions
from recsim_gen.core.vectors import MappedRows


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Choices of training, and data of the items; all tensors on one device.

    Parameters
    ----------
    n_users, n_items
        Numbers of users and items.
    user, item
        (m,) int64 rows.
    features
        {modality: (n, d) float32, or float16 if they stay in a file}.
    categories
        (n,) codes from 0, for models that need them.
    lists
        {name: (n, k + 1)} neighbour lists of a checkpoint.
    """

    n_users: int
    n_items: int
    user: Tensor
    item: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    categories: Tensor | None = None
    lists: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, interactions: Interactions, features: Mapping[str, np.ndarray], device: str | torch.device
    ) -> TrainingData:
        """Return the train split with these features; raise DataError if there is nothing to learn."""
        user, item = (torch.from_numpy(rows).to(device) for rows in train_choices(interactions))
        own = {m: _tensor(x).to(device) for m, x in features.items()}
        return cls(interactions.n_users, interactions.n_items, user, item, own)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.user.device


def _tensor(x: np.ndarray) -> Tensor:
    """Return a float32 copy of ``x``; mapped rows as they are in their file, float16."""
    return torch.from_numpy(x.half if isinstance(x, MappedRows) else np.array(x, dtype=np.float32))


def train_choices(interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Return (user, item) rows of the train split, without users who chose every item.

    There are no negatives for such users. Raises DataError if nothing is left.
    """
    user, item = interactions.only("train")
    if len(user) == 0:
        raise DataError("the train split must have interactions, got none")
    keep = ~_chose_everything(interactions)[user]
    if not keep.any():
        raise DataError(
            "users who have not chosen every item are wanted, got none: there is nothing to tell their "
            "choices from",
            remedy="Add items, or choose a split that keeps some choices for test",
        )
    return user[keep], item[keep]


def valid_choices(interactions: Interactions, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (user, item) rows of the valid split of ``most`` users (0: all), the same for every seed.

    Users who chose every item are left out.
    """
    user, item = interactions.only("valid")
    people = np.unique(user)
    if 0 < most < len(people):
        people = Rng(0).for_("validation").numpy().choice(people, size=most, replace=False)
    keep = np.isin(user, people) & ~_chose_everything(interactions)[user]
    return user[keep], item[keep]


def _chose_everything(interactions: Interactions) -> np.ndarray:
    """Return (n_users,) whether train and valid contain every item of a user."""
    count = np.bincount(interactions.only("train", "valid")[0], minlength=interactions.n_users)
    return np.asarray(count == interactions.n_items)
