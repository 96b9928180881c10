"""Simulated users of themed data without people: each likes two themes.

The paper's rule for SER30K: "merge two random themes into user historical sequences and randomly select a
reference sticker from other themes" (Ling et al., Sec. 5.1). Under it the reference is unrelated to the
history, so it cannot be predicted better than by chance; ``reference="own"`` holds out an item of the user's
own two themes instead.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Episode, Interactions
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.splits import TEST, TRAIN, VALID

Reference = Literal["another", "own"]
"""Theme of the reference: one that is not in the history, or one of its two."""

N_USERS = 2230  # "#Users … 2230" (Table 1, SER30K)
HISTORY_LENGTH = 20  # the length of a sequence in the paper's other sets


def theme_episodes(
    theme_of_item: np.ndarray,
    *,
    rng: Rng,
    n_users: int = N_USERS,
    history_length: int = HISTORY_LENGTH,
    reference: Reference = "another",
) -> tuple[Interactions, tuple[Episode, ...]]:
    """Simulate users who like two random themes each, with one episode per user.

    ``theme_of_item`` (n,) str is the theme of each catalogue row. The items of two themes, sampled uniformly
    among those with at least two items, are shuffled; the first ``history_length`` of them are the history,
    whose last item is valid and the rest train; the reference is test. ``time`` is the place in the sequence.
    The first users do not depend on ``n_users``. Raises DataError for fewer than three themes.
    """
    if n_users < 1 or history_length < 2:
        raise SettingError(
            f"n_users must be 1 or more and history_length 2 or more, got {n_users} and {history_length}"
        )
    if reference not in get_args(Reference):
        raise SettingError(f"reference must be one of {', '.join(get_args(Reference))}, got {reference!r}")
    _, theme, sizes = np.unique(theme_of_item, return_inverse=True, return_counts=True)
    by_theme = np.argsort(theme, kind="stable")  # catalogue rows grouped by theme
    starts = np.cumsum(sizes) - sizes
    pairs = _pairs(np.flatnonzero(sizes >= 2), len(sizes), rng.for_("pairs"), n_users)
    user, item, place = _shuffled(by_theme, starts[pairs], sizes[pairs], rng.for_("shuffle"))
    if reference == "own":
        count = np.minimum(sizes[pairs].sum(1) - 1, history_length)
        references = item[place == count[user]]
    else:
        count = np.minimum(sizes[pairs].sum(1), history_length)
        references = by_theme[_outside(starts[pairs], sizes[pairs], len(theme), rng.for_("reference"))]
    keep = place < count[user]
    user, item, place = user[keep], item[keep], place[keep]
    everyone = np.arange(n_users)
    split = np.where(place == count[user] - 1, VALID, TRAIN)
    interactions = Interactions(
        user=np.concatenate([user, everyone]),
        item=np.concatenate([item, references]),
        time=np.concatenate([place, count]),
        weight=np.ones(len(user) + n_users),
        split=np.concatenate([split, np.full(n_users, TEST)]),
        user_ids=np.char.add("u", everyone.astype(str)),
        n_items=len(theme),
    )
    return interactions, test_episodes(interactions, interactions.user_ids)


def _pairs(eligible: np.ndarray, n_themes: int, rng: Rng, n_users: int) -> np.ndarray:
    """Return (n_users, 2) two different themes each, the lower first."""
    if len(eligible) < 2 or n_themes < 3:
        raise DataError(
            f"three themes are wanted, two of them with two items or more, got {n_themes} themes, "
            f"{len(eligible)} of that size",
            remedy="Themes are the folders of the pictures: put each into a folder of its own",
        )
    draw = rng.numpy().random((n_users, 2))
    first = (draw[:, 0] * len(eligible)).astype(np.int64)
    second = (draw[:, 1] * (len(eligible) - 1)).astype(np.int64)
    second += second >= first
    return np.sort(eligible[np.stack([first, second], axis=1)], axis=1)


def _shuffled(
    by_theme: np.ndarray, starts: np.ndarray, sizes: np.ndarray, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (m,) user, item and place of all items of each user's two themes, in random order."""
    runs = sizes.reshape(-1)
    within = np.arange(runs.sum()) - np.repeat(np.cumsum(runs) - runs, runs)
    item = by_theme[np.repeat(starts.reshape(-1), runs) + within]
    per_user = sizes.sum(1)
    user = np.repeat(np.arange(len(sizes)), per_user)
    order = np.lexsort((rng.numpy().random(len(user)), user))
    place = np.arange(len(user)) - np.repeat(np.cumsum(per_user) - per_user, per_user)
    return user, item[order], place


def _outside(starts: np.ndarray, sizes: np.ndarray, n: int, rng: Rng) -> np.ndarray:
    """Return (n_users,) a place in [0, n) for each user, uniform over those outside its two runs."""
    place = (rng.numpy().random(len(starts)) * (n - sizes.sum(1))).astype(np.int64)
    for k in (0, 1):  # the lower run first: skip each
        place += np.where(place >= starts[:, k], sizes[:, k], 0)
    return place
