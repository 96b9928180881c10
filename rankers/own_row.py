"""Counterfactual scores and ranks of rankers in which an image affects its own item only.

A ranker provides the scores of all items for a user, and the change of an item's score by its features; the
rest is shared. `rankers.counterfactual` is for rankers in which items affect each other.
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

SCORES = 1 << 21  # scores in memory at a time: 16 MiB

Features = Mapping[str, NDArray[Any]]


class OwnRowCounterfactuals:
    """`substitute` and `rebuild` of a ranker whose item rows do not depend on each other."""

    @property
    def _columns(self) -> NDArray[Any]:
        """(n,) column of each item in a table of scores."""
        raise NotImplementedError

    @property
    def _masked(self) -> Histories:
        """Item rows that are masked from each known user's ranking."""
        raise NotImplementedError

    def _table(self, users: NDArray[Any]) -> NDArray[Any]:
        """Return the (B, n) float64 scores of all items for known users, ordered as in `_columns`."""
        raise NotImplementedError

    def _delta(self, users: NDArray[Any], items: NDArray[Any], given: Features) -> NDArray[Any]:
        """Return (B,) changes of the score: exactly 0 for an item's own features."""
        raise NotImplementedError

    def _checked(
        self, users: NDArray[Any], items: NDArray[Any], features: Features
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        """Return the checked inputs, as `check_triples`; raise SettingError before training."""
        raise NotImplementedError

    @property
    def _at_once(self) -> int:
        """Users whose scores of all items are in memory at a time."""
        return max(1, SCORES // len(self._columns))

    def substitute(
        self, users: NDArray[Any], items: NDArray[Any], features: Features, scope: Scope = "graph"
    ) -> Counterfactual:
        """Return what the ranker would answer if items had other features.

        Each (user, item, features) is evaluated alone, in O(1). An image affects its own item's row only, so
        both scopes give the same. Ranks cost one pass over the catalogue per image, or one sort per user.

        Raises
        ------
        DataError
            For unknown rows, other widths and NaN.
        SettingError
            For an unknown scope, and before training.
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
        """Return `substitute` with every rank counted from the full list of scores: the slow reference."""
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
    """Return the answer; the item's own row is touched if any features were given."""
    score, rank, original, original_rank = numbers
    touched, gap = np.full(len(score), int(moved)), np.full(len(score), np.nan)
    return Counterfactual(scope, score, rank, original, original_rank, touched, gap)
