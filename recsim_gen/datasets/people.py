"""Who stands behind the users of a dataset, and the same dataset split by another rule."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.splits import TEST, by_ratio, by_time, by_user, leave_last_out
from recsim_gen.simulation.episodes import test_episodes

SplitRule = Literal["leave-last-out", "by-ratio", "by-time", "by-user"]
"""The rules of ``splits`` by name."""

_PART = re.compile(r"(?<=.)/(\d+|tail|train|valid\d+)$")


def people_of(dataset: Dataset) -> np.ndarray:
    """(n_users,) str: the source user of each user.

    Episodes name it. A user without one belongs to ``person`` if it is called ``"<person>/<k>"``,
    ``"<person>/tail"``, ``"<person>/train"`` or ``"<person>/valid<k>"``, as by the loaders of this
    library; any other user is a person of their own.
    """
    told = {episode.user: episode.source_user for episode in dataset.episodes}
    names = enumerate(dataset.interactions.user_ids.tolist())
    return np.array([told.get(user) or _PART.sub("", name) for user, name in names], dtype=str)


def resplit(dataset: Dataset, rule: SplitRule, rng: Rng, *, valid: float = 0.1, test: float = 0.1) -> Dataset:
    """The dataset with its choices split by ``rule``, and the episodes that follow from it.

    ``valid`` and ``test`` are shares for the rules that take them (see ``splits``): of a user's rows,
    of all rows, or of the people. Test rows of users who have no other row give no episode; a note
    counts them. Raises SettingError for an unknown rule.
    """
    chosen, people = dataset.interactions, people_of(dataset)
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
