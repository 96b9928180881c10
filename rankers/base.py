"""What rankers share: how they are trained, and the checks of what they are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Catalog, Interactions


def check_users(users: np.ndarray, n_users: int) -> np.ndarray:
    """``users`` (B,) as an array; DataError unless all are rows in [0, n_users)."""
    users = np.ascontiguousarray(users, dtype=np.int64)  # torch takes no view that runs backwards
    if users.size and (users.min() < 0 or users.max() >= n_users):
        raise DataError(f"user rows must be in [0, {n_users}), got {users.min()}…{users.max()}")
    return users


def check_histories(histories: Sequence[np.ndarray], n_items: int) -> None:
    """DataError (row) unless each history has items, all of them rows in [0, n_items)."""
    for position, history in enumerate(histories):
        rows = np.asarray(history)
        if rows.size == 0 or rows.min() < 0 or rows.max() >= n_items:
            raise DataError(
                f"history {position} must have item rows in [0, {n_items}), got {rows.tolist()[:5]}"
            )


def check_catalog(catalog: Catalog, interactions: Interactions) -> None:
    """DataError unless the interactions are with the items of this catalogue."""
    if len(catalog) != interactions.n_items:
        raise DataError(
            f"interactions must be with the catalogue's {len(catalog)} items, got {interactions.n_items}"
        )
