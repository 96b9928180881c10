"""Splits choices into train, valid and test: four rules.

Each rule returns one of train, valid, test per row. With leave-last-out, by-ratio and by-user, a user with
fewer than three rows is all train, so that every tested user has a history.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.episodes import test_episodes

TRAIN, VALID, TEST = "train", "valid", "test"
_FEWEST = 3  # one row each for train, valid and test


def leave_last_out(user: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Assign the last row of each user to test, the one before it to valid, the rest to train.

    ``user`` (m,) ids of any type and ``time`` (m,) numbers, in any order; ties keep the order of the rows.
    Returns (m,) str. Users with fewer than 3 rows are all train.
    """
    from_end, count = _places_from_end(user, np.asarray(time))
    return _named(test=from_end == 0, valid=from_end == 1, eligible=count >= _FEWEST)


def by_ratio(user: np.ndarray, rng: Rng, *, valid: float = 0.1, test: float = 0.1) -> np.ndarray:
    """Assign a random share of each user's rows to test, another to valid, the rest to train.

    ``user`` (m,); ``valid`` and ``test`` are shares in (0, 1) with a sum below 1, rounded to whole rows per
    user, at least one each and leaving at least one for train. Returns (m,) str.
    """
    _check_shares(valid, test)
    key = rng.for_("split", "ratio").numpy().random(len(user))
    from_end, count = _places_from_end(user, key)
    n_test = np.clip(np.rint(test * count), 1, np.maximum(count - 2, 1))
    n_valid = np.clip(np.rint(valid * count), 1, np.maximum(count - 1 - n_test, 1))
    is_test = from_end < n_test
    is_valid = ~is_test & (from_end < n_test + n_valid)
    return _named(test=is_test, valid=is_valid, eligible=count >= _FEWEST)


def by_time(time: np.ndarray, *, valid: float = 0.1, test: float = 0.1) -> np.ndarray:
    """Split at one date for everybody: rows after it are test, the period before it valid.

    ``time`` (m,); ``valid`` and ``test`` are shares of all rows in (0, 1) with a sum below 1. Equal times are
    on the same side, so shares are met as nearly as ties allow. A user may have only test rows. Returns (m,)
    str.
    """
    _check_shares(valid, test)
    time = np.asarray(time, dtype=np.float64)
    if len(time) == 0:
        return np.zeros(0, dtype="<U5")
    first_valid, first_test = np.quantile(time, [1 - valid - test, 1 - test], method="higher")
    everyone = np.ones(len(time), dtype=bool)
    return _named(test=time >= first_test, valid=time >= first_valid, eligible=everyone)


def by_user(
    user: np.ndarray,
    time: np.ndarray,
    person: np.ndarray,
    rng: Rng,
    *,
    valid: float = 0.1,
    test: float = 0.1,
) -> np.ndarray:
    """Assign a random share of the people to test, another to valid, the rest to train.

    ``user`` (m,), ``time`` (m,) and ``person`` (m,), the person behind the user of each row. The last row of
    every user of a test person is test, of a validation person valid; all others are train. So no person has
    episodes in two splits, and a tested user is known by all rows but one. ``valid`` and ``test`` are shares
    of the people who have a user with 3 rows, rounded, at least one person. Returns (m,) str. Raises
    SettingError if there are fewer than three such people.
    """
    _check_shares(valid, test)
    from_end, count = _places_from_end(user, np.asarray(time))
    eligible = count >= _FEWEST
    names, group = np.unique(person, return_inverse=True)
    known = np.unique(group[eligible])
    n = len(known)
    if n < _FEWEST:
        raise SettingError(f"by-user wants three people of whom a user has {_FEWEST} rows, got {n}")
    n_test = int(np.clip(np.rint(test * n), 1, n - 2))
    n_valid = int(np.clip(np.rint(valid * n), 1, n - 1 - n_test))
    drawn = known[rng.for_("split", "user").numpy().permutation(n)]
    role = np.full(len(names), TRAIN)
    role[drawn[:n_test]] = TEST
    role[drawn[n_test : n_test + n_valid]] = VALID
    return np.where((from_end == 0) & eligible, role[group], TRAIN)


def _places_from_end(user: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (m,) the place of each row from its user's largest key (0 is last), and rows per user."""
    _, group, counts = np.unique(user, return_inverse=True, return_counts=True)
    if len(group) != len(key):
        raise SettingError(f"user and time must have one value a row, got {len(group)} and {len(key)}")
    order = np.lexsort((key, group))  # stable: ties keep the order of the rows
    ends = np.cumsum(counts)
    place = np.empty(len(group), dtype=np.int64)
    place[order] = ends[group[order]] - 1 - np.arange(len(group))
    return place, counts[group]


def _named(test: np.ndarray, valid: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    return np.select([~eligible, test, valid], [TRAIN, TEST, VALID], default=TRAIN)


def _check_shares(valid: float, test: float) -> None:
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise SettingError(
            f"valid and test must be shares above 0 with a sum below 1, got {valid} and {test}"
        )


SplitRule = Literal["leave-last-out", "by-ratio", "by-time", "by-user"]
"""Names of the rules."""


def resplit(dataset: Dataset, rule: SplitRule, rng: Rng, *, valid: float = 0.1, test: float = 0.1) -> Dataset:
    """Return the dataset with its choices split by ``rule``, and the resulting episodes.

    ``valid`` and ``test`` are shares for the rules that use them: of a user's rows, of all rows, or of the
    people. Test rows of users who have no other row give no episode; a note counts them. Raises SettingError
    for an unknown rule.
    """
    chosen, people = dataset.interactions, dataset.people
    shares = {"valid": valid, "test": test}
    if rule == "leave-last-out":
        split = leave_last_out(chosen.user, chosen.time)
    elif rule == "by-ratio":
        split = by_ratio(chosen.user, rng, **shares)
    elif rule == "by-time":
        split = by_time(chosen.time, **shares)
    elif rule == "by-user":
        split = by_user(chosen.user, chosen.time, people[chosen.user], rng, **shares)
    else:
        raise SettingError(f"unknown split {rule!r}.{did_you_mean(rule, get_args(SplitRule))}")
    interactions = chosen.with_split(split)
    episodes = test_episodes(interactions, people)
    notes = [*dataset.notes, f"split {rule}: {len(episodes):,} episodes"]
    if unknown := int((split == TEST).sum()) - len(episodes):
        notes.append(f"{unknown:,} test choices of people with no other choice: no episode")
    return replace(dataset, interactions=interactions, episodes=episodes, notes=tuple(notes))
