"""Cuts people's choices into sequences of equal length, each a user with one test episode.

The paper cuts MovieLens users into 20-item sequences and calls each a "user". The floor rule: a person with n
choices gives ⌊n / length⌋ sequences, oldest first; the remaining choices at the end are kept as a shorter
user that is only used for training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Episode, Interactions
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.remarks import remark
from recsim_gen.datasets.splits import TRAIN, leave_last_out

_UNITS = {"seconds": 1e8, "milliseconds": 1e11, "microseconds": 1e14, "nanoseconds": 1e17}
"""Smallest plausible time stamp in each unit (1973); the largest is a hundred times that."""

Tail = Literal["train", "drop"]
"""Treatment of remaining choices: kept as a shorter training user, or left out and counted."""


@dataclass(frozen=True, eq=False)
class Choices:
    """Choices of people before cutting; m rows in any order.

    Parameters
    ----------
    person
        (m,) rows of ``people``.
    people
        (p,) str ids.
    item
        (m,) catalogue rows.
    time, weight
        (m,) numbers.
    tie
        (m,) ints that order choices of equal time.
    """

    person: np.ndarray
    people: np.ndarray
    item: np.ndarray
    time: np.ndarray
    weight: np.ndarray
    tie: np.ndarray


@dataclass(frozen=True, eq=False)
class Sequences:
    """Result of ``cut`` and ``whole``; ``notes`` count sequences and remaining choices.

    ``people`` (n_users,) str is the person behind each user.
    """

    interactions: Interactions
    episodes: tuple[Episode, ...]
    notes: tuple[str, ...]
    people: np.ndarray


def whole(choices: Choices, n_items: int, *, split: np.ndarray | None = None) -> Sequences:
    """Return each person's choices as one sequence, oldest first; the user has the person's id.

    The last choice is test, the one before it valid, the rest train; people with fewer than three are all
    train. ``split`` (m,) gives the split of each choice instead. Rows of the result are ordered by person,
    then time.
    """
    order = _oldest_first(choices)
    person, time = choices.person[order], choices.time[order]
    own = leave_last_out(person, np.arange(len(person))) if split is None else split[order]
    interactions = Interactions(
        person, choices.item[order], time, choices.weight[order], own, choices.people, n_items
    )
    episodes = test_episodes(interactions, choices.people)
    if split is not None:
        notes: tuple[str, ...] = (f"{len(episodes):,} episodes by the split of the data",)
        return Sequences(interactions, episodes, notes, choices.people)
    short = len(choices.people) - len(episodes)
    counted = (f"{short:,} people with fewer than 3 choices: all train, no episode",) if short else ()
    notes = (f"{len(episodes):,} people with one episode each, oldest first", *counted)
    return Sequences(interactions, episodes, notes, choices.people)


def cut(choices: Choices, n_items: int, *, length: int = 20, tail: Tail = "train") -> Sequences:
    """Cut each person's choices, oldest first, into sequences of ``length`` (3 or more).

    The k-th sequence of a person is the user ``"<person>/<k>"`` (k from 0): its last item is test, the one
    before it valid, the rest train. The remaining choices are the user ``"<person>/tail"``, all train
    (``tail="train"``), or are left out and counted (``"drop"``). Rows of the result are ordered by person,
    then time. Raises DataError if no user has ``length`` choices.
    """
    if length < 3:
        raise SettingError(f"sequence_length must be 3 or more (train, valid, test), got {length}")
    if tail not in get_args(Tail):
        raise SettingError(f"tail must be one of {', '.join(get_args(Tail))}, got {tail!r}")
    order = _oldest_first(choices)
    person = choices.person[order]
    counts = np.bincount(person, minlength=len(choices.people))
    number = (np.arange(len(order)) - (np.cumsum(counts) - counts)[person]) // length
    left_over = number == counts[person] // length
    notes = _notes(counts, length, tail)
    if tail == "drop":
        order, person, number, left_over = (a[~left_over] for a in (order, person, number, left_over))
    starts = np.r_[True, (np.diff(person) != 0) | (np.diff(number) != 0)]
    user = np.cumsum(starts) - 1
    names = np.where(left_over[starts], "tail", number[starts].astype(str))
    source_users = choices.people[person[starts]]
    split = np.where(left_over, TRAIN, leave_last_out(user, np.arange(len(user))))
    interactions = Interactions(
        user=user,
        item=choices.item[order],
        time=choices.time[order],
        weight=choices.weight[order],
        split=split,
        user_ids=np.char.add(np.char.add(source_users, "/"), names),
        n_items=n_items,
    )
    return Sequences(interactions, test_episodes(interactions, source_users), notes, source_users)


def _oldest_first(choices: Choices) -> np.ndarray:
    """Return the (m,) rows by person, then time; remarks where times do not determine the order."""
    order = np.lexsort((choices.tie, choices.time, choices.person))
    person, time = choices.person[order], choices.time[order]
    follows = person[1:] == person[:-1]
    tied = follows & (time[1:] == time[:-1])
    counts = np.bincount(person[1:][follows], minlength=len(choices.people))
    even = (counts > 1) & (counts == np.bincount(person[1:][tied], minlength=len(counts)))
    if even.any() or 4 * tied.sum() > 3 * follows.sum():
        remark(
            f"{even.sum():,} of {len(counts):,} people have one time for all their choices, and "
            f"{tied.sum():,} of {follows.sum():,} choices have the time of the person's choice before: the "
            "order among them, and so what is asked for, is that of item ids or rows"
        )
    by_unit = {unit: int(((time >= low) & (time < 100 * low)).sum()) for unit, low in _UNITS.items()}
    parts = [f"{count:,} in {unit}" for unit, count in by_unit.items() if count]
    if len(parts) > 1:
        remark(
            f"times look mixed: {', '.join(parts)} since 1970. Bring them to one unit, or the order is wrong"
        )
    return order


def _notes(counts: np.ndarray, length: int, tail: Tail) -> tuple[str, ...]:
    full, rest = counts // length, counts % length
    if not full.any():
        raise DataError(
            f"no user has the {length} choices that make a sequence; the longest history has {counts.max()}",
            remedy="Lower sequence_length",
        )
    kept = "kept as shorter users, all train, no episode" if tail == "train" else "left out (tail=drop)"
    sequences = f"{full.sum():,} sequences of {length} by floor rule, oldest first: one episode each"
    if not rest.any():
        return (sequences,)
    return (sequences, f"{rest.sum():,} choices of {(rest > 0).sum():,} people left over: {kept}")
