"""Checks of the inputs of rankers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Catalog, Interactions


def check_users(users: np.ndarray, n_users: int) -> np.ndarray:
    """Return ``users`` (B,) as an int64 array; raise DataError unless all are rows in [0, n_users)."""
    users = np.ascontiguousarray(users, dtype=np.int64)  # torch does not accept negative strides
    if users.size and (users.min() < 0 or users.max() >= n_users):
        raise DataError(f"user rows must be in [0, {n_users}), got {users.min()}…{users.max()}")
    return users


def check_histories(histories: Sequence[np.ndarray], n_items: int) -> None:
    """Raise DataError unless each history has items, all of them rows in [0, n_items)."""
    for position, history in enumerate(histories):
        rows = np.asarray(history)
        if rows.size == 0 or rows.min() < 0 or rows.max() >= n_items:
            raise DataError(
                f"history {position} must have item rows in [0, {n_items}), got {rows.tolist()[:5]}"
            )


def check_catalog(catalog: Catalog, interactions: Interactions) -> None:
    """Raise DataError unless the interactions have as many items as the catalogue."""
    if len(catalog) != interactions.n_items:
        raise DataError(
            f"interactions must be with the catalogue's {len(catalog)} items, got {interactions.n_items}"
        )


def check_triples(
    users: np.ndarray,
    items: np.ndarray,
    features: Mapping[str, np.ndarray],
    *,
    n_users: int,
    n_items: int,
    widths: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the checked inputs of `substitute`: int64 rows and float32 features.

    Parameters
    ----------
    users, items
        (B,) rows.
    features
        {modality: (B, d)}.
    n_users, n_items
        Numbers of users and items.
    widths
        d of each known modality; empty for a ranker that does not use features.

    Raises
    ------
    DataError
        For rows that do not exist, unknown modalities, other widths, NaN and infinity; it names the first bad
        row of the batch, except for modalities and widths.
    """
    users, items = np.asarray(users), np.asarray(items)
    for name, rows, size in (("user", users, n_users), ("item", items, n_items)):
        if rows.shape != users.shape or rows.ndim != 1 or len(rows) == 0:
            raise DataError(f"users and items must be (B,) alike, got {users.shape} and {items.shape}")
        bad = (rows < 0) | (rows >= size)
        if bad.any():
            raise DataError(f"{name} rows must be in [0, {size}), got {rows[bad][0]}", row=int(bad.argmax()))
    given = {}
    for modality, x in features.items():
        if widths and modality not in widths:
            raise DataError(f"unknown modality {modality!r}.{did_you_mean(modality, widths)}")
        wanted = (len(users), widths.get(modality, np.shape(x)[-1]))
        if np.shape(x) != wanted:
            remedy = "Were they made by another encoder?"
            raise DataError(f"features[{modality!r}] must be {wanted}, got {np.shape(x)}", remedy=remedy)
        if not np.isfinite(x).all():
            row = int((~np.isfinite(x)).any(1).argmax())
            raise DataError(f"features[{modality!r}] must be finite, got NaN or infinity", row=row)
        given[modality] = np.asarray(x, dtype=np.float32)
    return users.astype(np.int64), items.astype(np.int64), given
