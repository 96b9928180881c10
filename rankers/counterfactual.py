"""Scores and ranks of items with other features, in an otherwise unchanged catalogue.

A ranker reports which rows of its item table change (`Changed`); the rest is shared by all rankers. Decisions
are made in float64: scores by increments and by rebuilding agree up to rounding, and `TIE` is far above
rounding errors, so ranks are equal. float32 only separates scores that clearly differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from rankers.base import check_triples
from rankers.score_counts import count_above
from rankers.sparse_rows import Ragged, expand, positions, products, union
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Counterfactual, Scope

TIE = 1e-10  # scores closer than this are tied
BATCH_CHANGES = 512  # triples per batch: each changes a hundred rows and more


@dataclass(frozen=True)
class Changed:
    """Item rows that differ under each of B changes.

    Parameters
    ----------
    key
        (M,) change·n + item, increasing and distinct.
    reach
        (M,) bounds on the norm of each row's change, |h' − h|.
    rows
        Function that returns the new rows (K, D) at distinct positions (K,) of ``key``.
    gap
        (B,) as in `Counterfactual`; NaN without a graph.
    """

    key: Tensor
    reach: Tensor
    rows: Callable[[Tensor], Tensor]
    gap: Tensor

    @classmethod
    def of(cls, key: Tensor, row: Tensor) -> Changed:
        """Return the changes with these new rows (M, D), without bounds or a neighbour list."""
        return cls(
            key, row.new_full((len(key),), torch.inf), partial(row.index_select, 0), row[:, 0] * torch.nan
        )

    def bounds(self, changes: int, n: int) -> Tensor:
        """Return (changes + 1,) positions in ``key`` at which the keys of each change begin, and the end."""
        return torch.searchsorted(self.key, torch.arange(changes + 1, device=self.key.device) * n)

    def take(self, key: Tensor, base: Tensor) -> Tensor:
        """Return the rows at ``key`` (K,): the new one if it changed, else that of ``base`` (n, D)."""
        out = base.index_select(0, key % len(base))
        there = positions(_contains(self.key, key))
        places, place = torch.searchsorted(self.key, key[there]).unique(return_inverse=True)
        return out.index_copy_(0, there, self.rows(places).index_select(0, place))


@dataclass(frozen=True)
class InteractionMask:
    """Earlier choices of each user: item rows ``item[start[u]:start[u + 1]]``, masked from every ranking."""

    start: Tensor
    item: Tensor

    @classmethod
    def of(cls, user: np.ndarray, item: np.ndarray, n_users: int, device: str) -> InteractionMask:
        """Return the mask of pairs (user, item)."""
        order = np.argsort(user, kind="stable")
        start = np.concatenate([[0], np.bincount(user, minlength=n_users).cumsum()])
        return cls(torch.from_numpy(start).to(device), torch.from_numpy(item[order]).to(device))

    def keys(self, users: Tensor, n: int) -> Tensor:
        """Return ``position·n + item`` of all choices of these users (B,)."""
        which, at = expand(self.start[users], self.start[users + 1])
        return which * n + self.item[at]


@dataclass(frozen=True)
class Tables:
    """Final rows of ``users`` (U, D) and ``items`` (n, D), float64; scores are their products."""

    users: Tensor
    items: Tensor

    @cached_property
    def fast(self) -> Tensor:
        """``items`` in float32."""
        return self.items.float()

    @cached_property
    def error(self) -> Tensor:
        """Bound on the float32 error of the difference of two scores, for a user vector of length 1.

        D + 2 roundings of 2⁻²⁴ in a dot product and one of the own score, all within |u|·|v|.
        """
        longest = self.items.norm(dim=1).nan_to_num(0).amax()
        return (self.items.shape[1] + 8) * 2.0**-24 * longest


@torch.no_grad()
def rank_items(
    users: Tensor,
    items: Tensor,
    tables: Tables,
    seen: InteractionMask,
    changed: Changed | None,
    which: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return scores and ranks (B,) of ``items`` for ``users``: with the ``changed`` item rows, then without.

    ``which`` (B,): the change that each query is about; None: query b is about change b. An item is compared
    with the others' rows under the same change. O(B·block) memory.

    All unchanged scores are counted in one pass, which is then corrected for items that are masked or
    changed.
    """
    vectors, n = tables.users[users], len(tables.items)
    number = torch.arange(len(items), device=items.device)
    out = union([seen.keys(users, n), number * n + items])  # chosen before, or the item itself
    masked = Ragged.of(out, len(items), n)
    original = torch.linalg.vecdot(vectors, tables.items[items])
    hidden = products(vectors, tables.items, masked.start, masked.item)
    if changed is None:
        rank = 1 + _above(users, [original], tables)[0] - _beaten(hidden, original, masked)
        return original, rank, original, rank
    which = number if which is None else which
    own = torch.linalg.vecdot(vectors, changed.take(which * n + items, tables.items))
    every, every_original = _above(users, [own, original], tables)
    rank = 1 + every - _beaten(hidden, own, masked)
    rank += _shifted(vectors, own, tables.items, out, changed, which)
    return own, rank, original, 1 + every_original - _beaten(hidden, original, masked)


def _shifted(
    vectors: Tensor, own: Tensor, table: Tensor, out: Tensor, changed: Changed, which: Tensor
) -> Tensor:
    """Return (B,): how many more items are above ``own`` (B,) with the rows ``changed``; ``out`` excluded.

    A score changes by at most |u|·|h' − h|: rows that cannot cross ``own`` are not computed.
    """
    n, number = len(table), torch.arange(len(changed.key), device=out.device)
    pairs = Ragged(changed.bounds(len(which), n), number)
    if not torch.equal(which, torch.arange(len(which), device=which.device)):
        pairs = pairs.take(which)
    item = changed.key[pairs.item] % n
    apart = products(vectors, table, pairs.start, item) - own.index_select(0, pairs.which)
    reach = vectors.norm(dim=1).index_select(0, pairs.which) * changed.reach.index_select(0, pairs.item)
    at = positions(~(apart.abs() > reach * (1 + TIE) + TIE))
    at = at[~_contains(out, pairs.which[at] * n + item[at])]
    places, place = pairs.item[at].unique(return_inverse=True)
    rows = Ragged(torch.searchsorted(at, pairs.start), place)
    points = _beaten(products(vectors, changed.rows(places), rows.start, place), own, rows)
    return points.index_add_(0, pairs.which[at], _beats(apart[at]), alpha=-1)


def _above(users: Tensor, own: Sequence[Tensor], tables: Tables) -> Tensor:
    """Return how many items' scores for ``users`` (B,) are above each ``own`` score (B,); ties count ½.

    Scores that are too close for float32 are recomputed in float64.
    """
    people, place = users.unique(return_inverse=True)
    vectors, bars = tables.users[users], torch.stack(list(own))
    unsure = tables.error * vectors.norm(dim=1) + TIE
    high, low = (bars + unsure).float(), (bars - unsure).float()
    points, near = count_above(tables.users[people].float(), place, high, low, tables.fast)
    scores = products(vectors.repeat(len(own), 1), tables.items, near.start, near.item)
    return points + _beaten(scores, bars.flatten(), near).view_as(bars)


def _beaten(scores: Tensor, own: Tensor, rows: Ragged) -> Tensor:
    """Return (B,) float64: how many ``scores`` of each query in ``rows`` are above ``own``; ties count ½."""
    apart = scores - own.index_select(0, rows.which)
    return torch.zeros_like(own).index_add_(0, rows.which, _beats(apart))


def _beats(apart: Tensor) -> Tensor:
    """Return 1 above, ½ for ties, 0 below and for NaN; float64."""
    return ((apart > TIE).double() + (apart >= -TIE).double()) / 2


def _contains(keys: Tensor, key: Tensor) -> Tensor:
    """Return whether each ``key`` is among the increasing ``keys``."""
    if not len(keys):
        return torch.zeros_like(key, dtype=torch.bool)
    return keys[torch.searchsorted(keys, key).clamp_max_(len(keys) - 1)] == key


class Counterfactuals:
    """`substitute` and `rebuild` of rankers whose scores are products of users (U, D) and items (n, D).

    A ranker that uses features implements ``_changed``, the item rows that they change, and ``_rebuilt``, the
    whole item table. Any other ranker returns the unchanged score.
    """

    device: str
    _mask: InteractionMask
    _widths: Mapping[str, int] = MappingProxyType({})
    _tables_kept: Tables | None = None

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        """Return users (U, D) and items (n, D) of the trained model, float64."""
        raise NotImplementedError

    def _known_tables(self) -> Tables:
        """Return `_exact_tables`, cached as long as the items are the same."""
        users, items = self._exact_tables()
        if self._tables_kept is None or self._tables_kept.items is not items:
            self._tables_kept = Tables(users, items)
        return self._tables_kept

    def _changed(self, items: Tensor, features: Mapping[str, Tensor], scope: Scope) -> Changed | None:
        """Return the item rows that differ if ``items`` (B,) had these features, each alone.

        None: the ranker does not use features.
        """
        return None

    def _rebuilt(self, item: Tensor, features: Mapping[str, Tensor]) -> Tensor | None:
        """Return the item table (n, D) rebuilt with the features (1, d) of ``item`` (1,).

        None: the ranker does not use features.
        """
        return None

    @torch.no_grad()
    def substitute(
        self, users: np.ndarray, items: np.ndarray, features: Mapping[str, np.ndarray], scope: Scope = "graph"
    ) -> Counterfactual:
        """Return what the ranker would answer if items had other features.

        Each (user, item, features) is evaluated alone.

        Parameters
        ----------
        users, items
            (B,) rows.
        features
            {modality: (B, d)}; a modality that is left out keeps the item's own features.
        scope
            graph: exactly as if everything were rebuilt with the new features (equal to `rebuild`); item:
            only the item's own row changes, for inner loops.

        Raises
        ------
        DataError
            For unknown rows, other widths and NaN.
        SettingError
            For an unknown scope.
        """
        if scope not in get_args(Scope):
            raise SettingError(f"unknown scope {scope!r}.{did_you_mean(scope, get_args(Scope))}")
        table = self._known_tables()
        who, what, given = self._triples(users, items, features, table)
        order, change = _changes(what, given)
        parts = []
        for at in order.split(BATCH_CHANGES):
            changes, which = change[at].unique_consecutive(return_inverse=True)
            once = at[torch.searchsorted(which, torch.arange(len(changes), device=at.device))]
            changed = (
                self._changed(what[once], {m: x[once] for m, x in given.items()}, scope) if given else None
            )
            parts.append(_answer(who[at], what[at], table, self._mask, changed, which))
        return _collect(scope, parts, order.argsort())

    @torch.no_grad()
    def rebuild(
        self, users: np.ndarray, items: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> Counterfactual:
        """Return `substitute` with scope graph by rebuilding everything: the reference, O(n²·d) a triple."""
        table = Tables(*self._exact_tables())
        who, what, given = self._triples(users, items, features, table)
        parts = []
        for b in range(len(who)):
            at = slice(b, b + 1)
            anew = self._rebuilt(what[at], {m: x[at] for m, x in given.items()}) if given else None
            _, _, *original, touched, gap = _answer(who[at], what[at], table, self._mask, None)
            rebuilt = table if anew is None else Tables(table.users, anew)
            now = rank_items(who[at], what[at], rebuilt, self._mask, None)
            parts.append((now[0], now[1], *original, touched, gap))
        return _collect("graph", parts, torch.arange(len(who)))

    def _triples(
        self,
        users: np.ndarray,
        items: np.ndarray,
        features: Mapping[str, np.ndarray],
        table: Tables,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        users, items, given = check_triples(
            users, items, features, n_users=len(table.users), n_items=len(table.items), widths=self._widths
        )
        return (
            torch.from_numpy(users).to(self.device),
            torch.from_numpy(items).to(self.device),
            {modality: torch.from_numpy(x).to(self.device) for modality, x in given.items()},
        )


def _changes(items: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the order of triples (B,) by features, then item, and the number (B,) of their changes."""
    numbers: dict[tuple[bytes, ...], int] = {}
    rows = [[row.tobytes() for row in x.cpu().numpy()] for x in features.values()]
    picture = [numbers.setdefault(key, len(numbers)) for key in zip(*rows, strict=True)] or [0] * len(items)
    pair = torch.stack([torch.tensor(picture, device=items.device), items], dim=1)
    change = pair.unique(dim=0, return_inverse=True)[1]
    return change.argsort(stable=True), change


def _answer(
    users: Tensor,
    items: Tensor,
    table: Tables,
    seen: InteractionMask,
    changed: Changed | None,
    which: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return scores, ranks, original scores and ranks, touched rows and gaps, (B,) each."""
    numbers = rank_items(users, items, table, seen, changed, which)
    if changed is None:
        nothing = torch.zeros_like(numbers[0])
        return *numbers, nothing.long(), torch.full_like(numbers[0], torch.nan)
    touched = changed.bounds(len(changed.gap), len(table.items)).diff()
    return *numbers, touched[which], changed.gap[which]


def _collect(scope: Scope, parts: list[tuple[Tensor, ...]], order: Tensor) -> Counterfactual:
    columns = [torch.cat(column)[order].cpu().numpy() for column in zip(*parts, strict=True)]
    return Counterfactual(scope, *columns)
