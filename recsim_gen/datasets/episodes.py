"""Episodes: a history and the reference that follows it, one per test choice or per training choice."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Dataset, Episode, Interactions


def test_episodes(interactions: Interactions, source_users: np.ndarray) -> tuple[Episode, ...]:
    """Return one episode per test row, ordered by user, then by time.

    The history is the user's train and valid items, oldest first (ties in the order of the rows); the
    reference is the test item. ``source_users`` (n_users,) str is the person behind each user. The k-th test
    row of user ``u`` has the id ``"u#k"``. A test row of a user without train and valid rows has no history
    and gives no episode.
    """
    if np.shape(source_users) != (interactions.n_users,):
        raise DataError(
            f"source_users must be ({interactions.n_users},), one a user, got {np.shape(source_users)}"
        )
    known, bounds = _by_user(interactions, "train", "valid")
    test, test_bounds = _by_user(interactions, "test")
    people = interactions.user[test]
    place = np.arange(len(test)) - test_bounds[people]
    # One int object per item, shared by all histories: saves nine tenths of the memory for many episodes.
    number = np.arange(interactions.n_items).astype(object)
    history = number[interactions.item[known]].tolist()
    rows = zip(
        people.tolist(),
        interactions.item[test].tolist(),
        place.tolist(),
        interactions.user_ids[people].tolist(),
        np.asarray(source_users, dtype=str)[people].tolist(),
        bounds[people].tolist(),
        bounds[people + 1].tolist(),
        strict=True,
    )
    return tuple(
        Episode(f"{name}#{k}", user, person, tuple(history[low:high]), reference)
        for user, reference, k, name, person, low, high in rows
        if high > low
    )


test_episodes.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


def training_episodes(dataset: Dataset, *, least: int = 2, longest: int = 20) -> tuple[Episode, ...]:
    """Return one episode per training choice, for generators to learn from, ordered by user, then by time.

    The history is what the same user chose before it in training, oldest first, at most the ``longest``
    latest; choices with fewer than ``least`` before them give no episode. Neither history nor reference is
    from the valid or the test split. The k-th training choice of user ``u`` has the id ``"u#train<k>"``.
    Raises SettingError unless 1 ≤ least ≤ longest, DataError if no history is long enough.
    """
    if not 1 <= least <= longest:
        raise SettingError(f"least must be 1 or more, longest no smaller: got {least} and {longest}")
    chosen, people = dataset.interactions, dataset.people.tolist()
    rows, bounds = _by_user(chosen, "train")
    users, items = chosen.user[rows].tolist(), chosen.item[rows].tolist()
    place = (np.arange(len(rows)) - bounds[chosen.user[rows]]).tolist()
    names = chosen.user_ids.tolist()
    episodes = tuple(
        Episode(
            f"{names[user]}#train{k}", user, people[user], tuple(items[at - min(k, longest) : at]), items[at]
        )
        for at, (user, k) in enumerate(zip(users, place, strict=True))
        if k >= least
    )
    if not episodes:
        raise DataError(
            f"people with more than {least} training choices are wanted, {dataset.name} has none",
            remedy="Give data with longer histories, or split it otherwise: --data-settings.split",
        )
    return episodes


def _by_user(interactions: Interactions, *splits: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of these splits by user and time, and (n_users + 1,) the bounds of each user."""
    rows = np.flatnonzero(np.isin(interactions.split, splits))
    order = np.lexsort((interactions.time[rows], interactions.user[rows]))
    counts = np.bincount(interactions.user[rows], minlength=interactions.n_users)
    return rows[order], np.concatenate([[0], np.cumsum(counts)])
