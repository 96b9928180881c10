"""Scores and ranks of items that look otherwise, for rankers where a picture moves its own item alone.

A ranker's part is the score of everything for a person, and by how much a picture moves its item's; the
rest is the same for all such rankers. In `rankers.counterfactual`, its counterpart, items move each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from rankers.counterfactual import TIE
from rankers.scalar_ranks import SORTED_FROM, rank_among
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Counterfactual, Scope
from recsim_gen.taste.histories import Histories

SCORES = 1 << 21  # scores held at a time: 16 MiB

Features = Mapping[str, NDArray[Any]]


class OwnRowCounterfactuals:
    """`substitute` and `rebuild` of a ranker whose item rows do not depend on each other."""

    @property
    def _columns(self) -> NDArray[Any]:
        """(n,) column of each item in a table of scores."""
        raise NotImplementedError

    @property
    def _masked(self) -> Histories:
        """Item rows that are out of each known user's list."""
        raise NotImplementedError

    def _table(self, users: NDArray[Any]) -> NDArray[Any]:
        """(B, n) float64 scores of everything for known users, in the order of `_columns`."""
        raise NotImplementedError

    def _delta(self, users: NDArray[Any], items: NDArray[Any], given: Features) -> NDArray[Any]:
        """(B,) change of score: exactly 0 for an item's own features."""
        raise NotImplementedError

    def _checked(
        self, users: NDArray[Any], items: NDArray[Any], features: Features
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        """What is asked, as of `check_triples`; SettingError before training."""
        raise NotImplementedError

    @property
    def _at_once(self) -> int:
        """People whose scores of everything are held at a time."""
        return max(1, SCORES // len(self._columns))

    def substitute(
        self, users: NDArray[Any], items: NDArray[Any], features: Features, scope: Scope = "graph"
    ) -> Counterfactual:
        """What would it say if item i looked like x? Each (user, item, features) alone, in O(1) a triple.

        A picture acts through its own item's row alone, so both scopes are one. Ranks cost a pass over the
        catalogue a picture, or one sort a user. Raises as every ranker does for unknown rows, other widths
        and NaN.
        """
        if scope not in get_args(Scope):
            raise SettingError(f"unknown scope {scope!r}.{did_you_mean(scope, get_args(Scope))}")
        users, items, given = self._checked(users, items, features)
        delta, column = self._delta(users, items, given), self._columns
        score, rank, original, original_rank = (np.empty(len(users)) for _ in range(4))
        people, place = np.unique(users, return_inverse=True)
        triples = Histories.of_pairs(place, np.arange(len(users)), len(people))
        for start in range(0, len(people), self._at_once):
            part = np.arange(start, min(start + self._at_once, len(people)))
            table, asked = self._table(people[part]), triples.take(part)
            at, mask = asked.items, self._masked.take(people[part])
            original[at] = table[asked.person, column[items[at]]]
            score[at] = original[at] + delta[at]
            table[mask.person, column[mask.items]] = -np.inf
            for row, (first, last) in enumerate(pairwise(asked.start.tolist())):
                mine = at[first:last]
                own = table[row, column[items[mine]]]
                others = np.sort(table[row]) if len(mine) > SORTED_FROM else table[row]
                inside = own > -np.inf
                rank[mine] = rank_among(others, score[mine], own, inside)
                original_rank[mine] = rank_among(others, original[mine], own, inside)
        return _answer(scope, (score, rank, original, original_rank), bool(given))

    def rebuild(self, users: NDArray[Any], items: NDArray[Any], features: Features) -> Counterfactual:
        """`substitute` with every rank counted from the whole list of scores: the slow reference."""
        users, items, given = self._checked(users, items, features)
        parts = []
        for b in range(len(users)):
            at = slice(b, b + 1)
            table = self._table(users[at])[0, self._columns]
            eligible = np.setdiff1d(np.arange(len(table)), [*self._masked.take(users[at]).items, items[b]])
            own = table[items[b]]
            new = own + self._delta(users[at], items[at], {m: x[at] for m, x in given.items()})[0]
            ranks = []
            for s in (new, own):
                apart = table[eligible] - s
                ranks.append(1 + (apart > TIE).sum() + 0.5 * (np.abs(apart) <= TIE).sum())
            parts.append((new, ranks[0], own, ranks[1]))
        return _answer("graph", [np.array(column) for column in zip(*parts, strict=True)], bool(given))


def _answer(scope: Scope, numbers: Sequence[NDArray[Any]], moved: bool) -> Counterfactual:
    """The four columns, with what they touched: the own row where anything was given."""
    score, rank, original, original_rank = numbers
    touched, gap = np.full(len(score), int(moved)), np.full(len(score), np.nan)
    return Counterfactual(scope, score, rank, original, original_rank, touched, gap)
