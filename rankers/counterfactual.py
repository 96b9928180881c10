"""Scores and ranks of items that look otherwise, against a catalogue that does not change.

A ranker's part is to say which rows of its item table differ (`Changed`); the rest is the same for
all rankers. Every decision is float64: increments and rebuilds agree to rounding, and `TIE` is far
above rounding, so they rank alike. float32 only sorts out what is too far apart to need one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from rankers.base import check_triples
from rankers.sparse_rows import SparseRows, above, at_least, count_true, expand, products, true_at
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.types import Counterfactual, Scope

TIE = 1e-10  # scores nearer than this are tied
BATCH_ELEMENTS = 1 << 21  # scores held at a time: 8 MiB of float32, near a CPU's cache
BATCH_CHANGES = 128  # changes at a time: each moves a hundred rows and more


@dataclass(frozen=True)
class Changed:
    """Item rows that differ under each change, and how near the neighbour list was to another (B,)."""

    rows: SparseRows
    gap: Tensor


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
    def undefined(self) -> Tensor:
        """Items whose row holds NaN: they beat nobody."""
        return self.items.isnan().any(1).nonzero().squeeze(1)

    @cached_property
    def error(self) -> Tensor:
        """Bound on |float32 score − own score in float32 − their difference| for a user of length 1.

        D + 2 roundings of 2⁻²⁴ in a dot product and one of the own score, all within |u|·|v|.
        """
        longest = self.items.norm(dim=1).nan_to_num(0).amax()
        return (self.items.shape[1] + 8) * 2.0**-24 * longest


def rank_items(
    users: Tensor, items: Tensor, tables: Tables, seen: InteractionMask, changed: SparseRows | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Score and rank (B,) of ``items`` for ``users``, with the item rows ``changed``, then without.

    The item is compared with the others only, each with the row it has under the same change.
    O(B·n) memory.
    """
    vectors, n = tables.users[users], len(tables.items)
    mine = torch.arange(len(items), device=items.device) * n + items
    scores = vectors.float() @ tables.fast.T
    scores[:, tables.undefined] = -torch.inf
    flat = scores.view(-1)
    out = torch.cat([seen.keys(users, n), mine])  # chosen before, or the item itself
    flat.index_fill_(0, out, -torch.inf)
    original = torch.linalg.vecdot(vectors, tables.items[items])
    original_rank = _rank(original, vectors, scores, tables)
    if changed is None:
        return original, original_rank, original, original_rank
    own = torch.linalg.vecdot(vectors, changed.take(mine, tables.items))
    who, eligible = changed.key // n, flat.index_select(0, changed.key) > -torch.inf
    flat.index_fill_(0, changed.key, -torch.inf)
    bounds = torch.arange(len(items) + 1, device=items.device) * n
    every = torch.arange(len(who), device=items.device)
    new = products(vectors, changed.row, torch.searchsorted(changed.key, bounds), every)
    rank = _rank(own, vectors, scores, tables)
    rank.index_add_(0, who, (1 + _side(new - own[who])) / 2 * eligible)
    return own, rank, original, original_rank


def _rank(own: Tensor, vectors: Tensor, scores: Tensor, tables: Tables) -> Tensor:
    """1 + how many of ``scores`` (B, n) float32 are above ``own`` (B,), ties half.

    Scores too near to be told apart in float32 are made again in float64.
    """
    n, unsure = scores.shape[1], tables.error * vectors.norm(dim=1) + TIE
    high, low = (own + unsure).float()[:, None], (own - unsure).float()[:, None]
    higher = above(scores, high)
    near = true_at(at_least(scores, low) ^ higher)
    who = near // n
    exact = _scores_at(who, near % n, vectors, tables)
    rank = 1 + count_true(higher).double()
    return rank.index_add_(0, who, (1 + _side(exact - own[who])) / 2)


def _scores_at(who: Tensor, item: Tensor, vectors: Tensor, tables: Tables) -> Tensor:
    """float64 scores (K,) of pairs."""
    if len(who) > len(tables.items):  # ties by the thousand: a row for each would fill memory
        return (vectors @ tables.items.T)[who, item]
    return torch.linalg.vecdot(vectors[who], tables.items[item])


def _side(difference: Tensor) -> Tensor:
    """1 above, −1 below (and for NaN), 0 tied; float64."""
    return (difference > TIE).double() - (~(difference >= -TIE)).double()


def batch_size(n: int) -> int:
    """How many triples are judged at a time among ``n`` items."""
    return max(1, min(BATCH_CHANGES, BATCH_ELEMENTS // n))


class Counterfactuals:
    """`substitute` and `rebuild` for rankers whose score is users (U, D) · items (n, D).

    A ranker that sees features says which item rows they change (``_changed``) and how to make the
    whole table anew (``_rebuilt``); one that does not is blind and answers with the unchanged score.
    """

    device: str
    _mask: InteractionMask
    _widths: Mapping[str, int] = MappingProxyType({})

    def _exact_tables(self) -> tuple[Tensor, Tensor]:
        """Users (U, D) and items (n, D), float64, of the trained model."""
        raise NotImplementedError

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
        table = Tables(*self._exact_tables())
        who, what, given = self._triples(users, items, features, table)
        size = batch_size(len(table.items))
        parts = []
        for start in range(0, len(who), size):
            at = slice(start, start + size)
            changed = self._changed(what[at], {m: x[at] for m, x in given.items()}, scope) if given else None
            parts.append(_answer(who[at], what[at], table, self._mask, changed))
        return _collect(scope, parts)

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
        return _collect("graph", parts)

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


def _answer(
    users: Tensor, items: Tensor, table: Tables, seen: InteractionMask, changed: Changed | None
) -> tuple[Tensor, ...]:
    """Score, rank, original score and rank, touched rows, gap; each (B,)."""
    numbers = rank_items(users, items, table, seen, None if changed is None else changed.rows)
    if changed is None:
        nothing = torch.zeros_like(numbers[0])
        return *numbers, nothing.long(), torch.full_like(numbers[0], torch.nan)
    touched = torch.bincount(changed.rows.key // len(table.items), minlength=len(users))
    return *numbers, touched, changed.gap


def _collect(scope: Scope, parts: list[tuple[Tensor, ...]]) -> Counterfactual:
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    return Counterfactual(scope, *columns)
