"""What rankers share: how they are trained, and the checks of what they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import did_you_mean
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


def check_triples(
    users: np.ndarray,
    items: np.ndarray,
    features: Mapping[str, np.ndarray],
    *,
    n_users: int,
    n_items: int,
    widths: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """``users`` and ``items`` (B,) int64 and ``features`` {modality: (B, d) float32} of `substitute`.

    ``widths``: d of each modality that is known; none for a ranker that does not look at features. Raises
    DataError (row) for rows that do not exist, unknown modalities, other widths, NaN and infinity.
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
