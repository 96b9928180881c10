"""Scores and ranks of items that look otherwise, against a catalogue that does not change.

A ranker's part is to say which rows of its item table differ (`Changed`); the rest is the same for
all rankers. Every decision is float64: increments and rebuilds agree to rounding, and `TIE` is far
above rounding, so they rank alike. float32 only sorts out what is too far apart to need one.
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
from rankers.sparse_rows import Ragged, above, at_least, count_true, expand, products, union
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Counterfactual, Scope

TIE = 1e-10  # scores nearer than this are tied
BATCH_CHANGES = 256  # triples at a time: each moves a hundred rows and more
BLOCK = 2040  # items at a time: scores that stay in a CPU's cache


@dataclass(frozen=True)
class Changed:
    """Item rows that differ under each change, at ``key`` (M,) = change·n + item, rising and distinct.

    ``reach`` (M,): how far each moves at most, |h' − h|; ``rows``: gives the new ones at distinct places
    (K,) of the keys, (K, D); ``gap`` (B,): how near the neighbour list was to another.
    """

    key: Tensor
    reach: Tensor
    rows: Callable[[Tensor], Tensor]
    gap: Tensor

    @classmethod
    def of(cls, key: Tensor, row: Tensor) -> Changed:
        """All rows given, (M, D), without a neighbour list."""
        return cls(
            key, row.new_full((len(key),), torch.inf), partial(row.index_select, 0), row[:, 0] * torch.nan
        )

    def bounds(self, changes: int, n: int) -> Tensor:
        """(changes + 1,) where the keys of each change begin, and where they end."""
        return torch.searchsorted(self.key, torch.arange(changes + 1, device=self.key.device) * n)

    def take(self, key: Tensor, base: Tensor) -> Tensor:
        """Rows at ``key`` (K,): the new one where there is one, else that of ``base`` (n, D)."""
        out = base.index_select(0, key % len(base))
        there = _contains(self.key, key).nonzero().squeeze(1)
        places, place = torch.searchsorted(self.key, key[there]).unique(return_inverse=True)
        return out.index_copy_(0, there, self.rows(places).index_select(0, place))


@dataclass(frozen=True)
class InteractionMask:
    """What each user chose before: item rows ``item[start[u]:start[u + 1]]``; masked from every ranking."""

    start: Tensor
    item: Tensor

    @classmethod
    def of(cls, user: np.ndarray, item: np.ndarray, n_users: int, device: str) -> InteractionMask:
        """From pairs."""
        order = np.argsort(user, kind="stable")
        start = np.concatenate([[0], np.bincount(user, minlength=n_users).cumsum()])
        return cls(torch.from_numpy(start).to(device), torch.from_numpy(item[order]).to(device))

    def keys(self, users: Tensor, n: int) -> Tensor:
        """``position·n + item`` of what each of these users (B,) chose."""
        which, at = expand(self.start[users], self.start[users + 1])
        return which * n + self.item[at]


@dataclass(frozen=True)
class Tables:
    """Final rows of ``users`` (U, D) and ``items`` (n, D), float64; a score is their product."""

    users: Tensor
    items: Tensor

    @cached_property
    def fast(self) -> Tensor:
        """``items`` in float32."""
        return self.items.float()

    @cached_property
    def error(self) -> Tensor:
        """Bound on |float32 score − own score in float32 − their difference| for a user of length 1.

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
    """Score and rank (B,) of ``items`` for ``users``, with the item rows ``changed``, then without.

    ``which`` (B,): the change under which each is asked; None: each under its own. The item is compared with
    the others only, each with the row it has under the same change. O(B·block) memory.

    All scores are passed over once, as they are without a change, and counted; of those that are masked or
    changed, what they counted is taken away again.
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
    """(B,): how many more are above ``own`` (B,) with the rows ``changed`` than without, but those ``out``.

    A score moves by no more than |u|·|h' − h|: rows that cannot come to the other side are not made.
    """
    n, number = len(table), torch.arange(len(changed.key), device=out.device)
    pairs = Ragged(changed.bounds(len(which), n), number).take(which)
    item = changed.key[pairs.item] % n
    apart = products(vectors, table, pairs.start, item) - own.index_select(0, pairs.which)
    reach = vectors.norm(dim=1).index_select(0, pairs.which) * changed.reach.index_select(0, pairs.item)
    may = ~(apart.abs() > reach * (1 + TIE) + TIE) & ~_contains(out, pairs.which * n + item)
    at = may.nonzero().squeeze(1)
    places, place = pairs.item[at].unique(return_inverse=True)
    rows = Ragged(torch.searchsorted(at, pairs.start), place)
    points = _beaten(products(vectors, changed.rows(places), rows.start, place), own, rows)
    return points.index_add_(0, pairs.which[at], _beats(apart[at]), alpha=-1)


def _above(users: Tensor, own: Sequence[Tensor], tables: Tables) -> list[Tensor]:
    """How many of all items' scores for ``users`` (B,) are above each ``own`` score (B,), ties half.

    Scores too near to be told apart in float32 are made again in float64.
    """
    (people, place), n = users.unique(return_inverse=True), len(tables.items)
    shared = 2 * len(people) <= len(users)  # scores of one person are made once
    vectors, asked = tables.users[users], tables.users[people if shared else users].float()
    unsure = tables.error * vectors.norm(dim=1) + TIE
    bars = [((one + unsure).float()[:, None], (one - unsure).float()[:, None]) for one in own]
    points, held = [torch.zeros_like(one) for one in own], asked.new_empty(len(asked) * BLOCK)
    close: list[list[Tensor]] = [[] for _ in own]
    for start in range(0, n, BLOCK):
        part = tables.fast[start : start + BLOCK]
        scores = torch.mm(asked, part.T, out=held[: len(asked) * len(part)].view(len(asked), len(part)))
        scores = scores.index_select(0, place) if shared else scores
        for c, (high, low) in enumerate(bars):
            higher, least = above(scores, high), at_least(scores, low)
            count = count_true(higher)
            points[c] += count
            crowd = (count_true(least) != count).nonzero().squeeze(1)
            row, item = (higher.index_select(0, crowd) ^ least.index_select(0, crowd)).nonzero().unbind(1)
            close[c].append(crowd.index_select(0, row) * n + item + start)
    for c, one in enumerate(own):
        near = Ragged.of(torch.cat(close[c]).sort().values, len(users), n)
        points[c] += _beaten(products(vectors, tables.items, near.start, near.item), one, near)
    return points


def _beaten(scores: Tensor, own: Tensor, rows: Ragged) -> Tensor:
    """(B,) float64: how many of the ``scores`` of each one's ``rows`` are above ``own`` (B,), ties half."""
    apart = scores - own.index_select(0, rows.which)
    return torch.zeros_like(own).index_add_(0, rows.which, _beats(apart))


def _beats(apart: Tensor) -> Tensor:
    """1 above, ½ tied, 0 below and for NaN; float64."""
    return ((apart > TIE).double() + (apart >= -TIE).double()) / 2


def _contains(keys: Tensor, key: Tensor) -> Tensor:
    """Whether each ``key`` is one of the rising ``keys``."""
    if not len(keys):
        return torch.zeros_like(key, dtype=torch.bool)
    return keys[torch.searchsorted(keys, key).clamp_max_(len(keys) - 1)] == key


class Counterfactuals:
    """`substitute` and `rebuild` for rankers whose score is users (U, D) · items (n, D).

    A ranker that sees features says which item rows they change (``_changed``) and how to make the
    whole table anew (``_rebuilt``); one that does not is blind and answers with the unchanged score.
    """

    device: str
    _mask: InteractionMask
    _widths: Mapping[str, int] = MappingProxyType({})
    _tables_kept: Tables | None = None

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        """Users (U, D) and items (n, D), float64, of the trained model."""
        raise NotImplementedError

    def _known_tables(self) -> Tables:
        """`_exact_tables`, and what was made of them before, as long as the items are the same."""
        users, items = self._exact_tables()
        if self._tables_kept is None or self._tables_kept.items is not items:
            self._tables_kept = Tables(users, items)
        return self._tables_kept

    def _changed(self, items: Tensor, features: Mapping[str, Tensor], scope: Scope) -> Changed | None:
        """Item rows that differ if ``items`` (B,) had these features, one by one; None: blind."""
        return None

    def _rebuilt(self, item: Tensor, features: Mapping[str, Tensor]) -> Tensor | None:
        """The item table (n, D) made anew with the features (1, d) of ``item`` (1,); None: blind."""
        return None

    @torch.no_grad()
    def substitute(
        self, users: np.ndarray, items: np.ndarray, features: Mapping[str, np.ndarray], scope: Scope = "graph"
    ) -> Counterfactual:
        """What would the ranker say if item i looked like x? Each (user, item, features) alone.

        ``users``, ``items`` (B,) rows; ``features`` {modality: (B, d)}, a modality left out keeps the
        item's own. ``scope`` "graph": as if everything were built again with the new feature,
        exactly (equal to `rebuild`); "item": the item's own row only, for inner loops. Raises
        DataError for unknown rows, other widths and NaN; SettingError for an unknown scope.
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
        """`substitute` with scope "graph" by building everything again, O(n²·d) a triple: the reference."""
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
    """The triples (B,) by picture, then by item, and the number (B,) of the change that each asks about."""
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
    """Score, rank, original score and rank, touched rows, gap; each (B,)."""
    numbers = rank_items(users, items, table, seen, changed, which)
    if changed is None:
        nothing = torch.zeros_like(numbers[0])
        return *numbers, nothing.long(), torch.full_like(numbers[0], torch.nan)
    touched = changed.bounds(len(changed.gap), len(table.items)).diff()
    return *numbers, touched[which], changed.gap[which]


def _collect(scope: Scope, parts: list[tuple[Tensor, ...]], order: Tensor) -> Counterfactual:
    columns = [torch.cat(column)[order].cpu().numpy() for column in zip(*parts, strict=True)]
    return Counterfactual(scope, *columns)
