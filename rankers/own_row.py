"""Scores and ranks of items that look otherwise, for rankers where a picture moves its own item alone.

A ranker's part is the score of everything for a history, and by how much a picture moves its item's; the
rest is the same for all such rankers. In `rankers.counterfactual`, its counterpart, items move each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from rankers.counterfactual import TIE
from rankers.scalar_ranks import SORTED_FROM, rank_among
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Counterfactual, Scope

AT_ONCE = 64  # people whose scores of everything are held at a time

Features = Mapping[str, np.ndarray]


class OwnRowCounterfactuals:
    """`substitute` and `rebuild` of a ranker whose item rows do not depend on each other."""

    def _chosen(self, user: int) -> np.ndarray:
        """Item rows that a known user chose in training."""
        raise NotImplementedError

    def _masked(self, user: int) -> np.ndarray:
        """Item rows that are out of a known user's list."""
        raise NotImplementedError

    def _scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """(B, n) float64 scores of people with these histories."""
        raise NotImplementedError

    def _delta(self, users: np.ndarray, items: np.ndarray, given: Features) -> np.ndarray:
        """(B,) change of score: exactly 0 for an item's own features."""
        raise NotImplementedError

    def _checked(
        self, users: np.ndarray, items: np.ndarray, features: Features
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """What is asked, as of `check_triples`; SettingError before training."""
        raise NotImplementedError

    def substitute(
        self, users: np.ndarray, items: np.ndarray, features: Features, scope: Scope = "graph"
    ) -> Counterfactual:
        """What would it say if item i looked like x? Each (user, item, features) alone, in O(1) a triple.

        A picture acts through its own item's row alone, so both scopes are one. Ranks cost a pass over the
        catalogue a picture, or one sort a user. Raises as every ranker does for unknown rows, other widths
        and NaN.
        """
        if scope not in get_args(Scope):
            raise SettingError(f"unknown scope {scope!r}.{did_you_mean(scope, get_args(Scope))}")
        users, items, given = self._checked(users, items, features)
        delta = self._delta(users, items, given)
        score, rank, original, original_rank = (np.empty(len(users)) for _ in range(4))
        people, place = np.unique(users, return_inverse=True)
        by_person = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[by_person], np.arange(len(people) + 1))
        for start in range(0, len(people), AT_ONCE):
            part = people[start : start + AT_ONCE]
            table = self._scores([self._chosen(u) for u in part.tolist()])
            for row, user in enumerate(part.tolist()):
                at = by_person[bounds[start + row] : bounds[start + row + 1]]
                own, mask = table[row, items[at]], self._masked(user)
                others, inside = np.delete(table[row], mask), ~np.isin(items[at], mask)
                if len(at) > SORTED_FROM:
                    others = np.sort(others)
                score[at], original[at] = own + delta[at], own
                rank[at] = rank_among(others, own + delta[at], own, inside)
                original_rank[at] = rank_among(others, own, own, inside)
        return _answer(scope, (score, rank, original, original_rank), bool(given))

    def rebuild(self, users: np.ndarray, items: np.ndarray, features: Features) -> Counterfactual:
        """`substitute` with every rank counted from the whole list of scores: the slow reference."""
        users, items, given = self._checked(users, items, features)
        parts = []
        for b in range(len(users)):
            at = slice(b, b + 1)
            table = self._scores([self._chosen(int(users[b]))])[0]
            eligible = np.setdiff1d(np.delete(np.arange(len(table)), self._masked(int(users[b]))), items[at])
            own = table[items[b]]
            new = own + self._delta(users[at], items[at], {m: x[at] for m, x in given.items()})[0]
            ranks = []
            for s in (new, own):
                apart = table[eligible] - s
                ranks.append(1 + (apart > TIE).sum() + 0.5 * (np.abs(apart) <= TIE).sum())
            parts.append((new, ranks[0], own, ranks[1]))
        return _answer("graph", [np.array(column) for column in zip(*parts, strict=True)], bool(given))


def _answer(scope: Scope, numbers: Sequence[np.ndarray], moved: bool) -> Counterfactual:
    """The four columns, with what they touched: the own row where anything was given."""
    score, rank, original, original_rank = numbers
    touched, gap = np.full(len(score), int(moved)), np.full(len(score), np.nan)
    return Counterfactual(scope, score, rank, original, original_rank, touched, gap)
