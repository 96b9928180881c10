"""Graph convolution of a batch of changed graphs; only rows that change are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from rankers.item_graphs.graph_change import GraphChange, GraphState
from rankers.sparse_rows import SparseRows, coo, expand, none, union

ROWS = 1 << 14  # rows of `Layer.source` at a time
PLACES = 1 << 20  # a power of two, many times the rows that a batch of changes affects


@dataclass(frozen=True)
class Terms:
    """Summands ``coefficient`` times row ``source`` of a table, for the row at key ``target``; all (P,)."""

    target: Tensor
    source: Tensor
    coefficient: Tensor

    @classmethod
    def sorted(cls, parts: Sequence[Terms], only: Tensor | None, n: int) -> Terms:
        """Return all terms by increasing target, those with a target in ``only`` (B,), one key per change.

        ``only`` None: all targets.
        """
        target = torch.cat([part.target for part in parts])
        source = torch.cat([part.source for part in parts])
        coefficient = torch.cat([part.coefficient for part in parts])
        if only is not None:
            mine = only.index_select(0, target // n) == target
            target, source, coefficient = target[mine], source[mine], coefficient[mine]
        target, order = target.sort()
        return cls(target, source.index_select(0, order), coefficient.index_select(0, order))


@dataclass(frozen=True)
class ChangedGraph:
    """A' = row'·W'·column' of a batch of changes of a graph, computed entry by entry."""

    graph: GraphState
    change: GraphChange

    @cached_property
    def scales(self) -> tuple[Tensor, Tensor]:
        """Row and column factors at the keys of the change."""
        return self.graph.scales(self.change.degree)

    @cached_property
    def touched(self) -> Tensor:
        """(`PLACES`,) whether a key of the change has these low bits; most keys need no search."""
        mask = torch.zeros(PLACES, dtype=torch.bool, device=self.change.key.device)
        return mask.index_fill_(0, self.change.key & (PLACES - 1), True)

    def row(self, key: Tensor, item: Tensor) -> Tensor:
        """Return row' at ``key``; ``item`` is ``key % n``."""
        return self._factor(0, key, item)

    def column(self, key: Tensor, item: Tensor) -> Tensor:
        """Return column' at ``key``; ``item`` is ``key % n``."""
        return self._factor(1, key, item)

    def _factor(self, side: int, key: Tensor, item: Tensor) -> Tensor:
        factor = self.graph.scale[side].index_select(0, item)
        if len(self.change.key) == 0:
            return factor
        at = self.touched.index_select(0, key & (PLACES - 1)).nonzero().squeeze(1)
        place = torch.searchsorted(self.change.key, key.index_select(0, at)).clamp_max_(
            len(self.change.key) - 1
        )
        there = (self.change.key[place] == key[at]).nonzero().squeeze(1)
        return factor.index_copy_(0, at[there], self.scales[side].index_select(0, place[there]))

    def readers(self, key: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the edges r → j of the unchanged graph, with j at ``key``.

        Returns the position in ``key``, the key of r, r, and the weight w_rj.
        """
        start, rows, _, weight = self.graph.reverse
        column = key % self.graph.n
        which, at = expand(start.index_select(0, column), start.index_select(0, column + 1))
        reader = rows.index_select(0, at)
        return which, (key - column).index_select(0, which) + reader, reader, weight.index_select(0, at)

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the entries of W that change: keys of row and column, w' − w."""
        entries = self.change.entries
        row = self.change.key.index_select(0, entries.place)
        return row, row - row % self.graph.n + entries.column, entries.delta

    def difference(self, share: float, totals: int) -> Terms:
        """Return the terms of share·(A'·x − A·x).

        It is share·[(row' − row)·t + row'·(W·(column' − column)·x + (W' − W)·column'·x)]. Sources are rows of
        x (n, d) and of t = W·column·x, which is ``totals`` rows below x.
        """
        key, item = self.change.key, self.change.key % self.graph.n
        row, column = (scale.index_select(0, item) for scale in self.graph.scale)
        which, target, reader, weight = self.readers(key)
        changed, to, delta = self.entries()
        entered = self.change.entries.column
        step = (self.scales[1] - column).index_select(0, which)
        new_row = self.scales[0].index_select(0, self.change.entries.place)
        reads, holds = weight * step * self.row(target, reader), delta * self.column(to, entered) * new_row
        return Terms(
            torch.cat([target, changed, key]),
            torch.cat([item.index_select(0, which), entered, item + totals]),
            share * torch.cat([reads, holds, self.scales[0] - row]),
        )

    def applied(self, share: float, moved: Tensor) -> Terms:
        """Return the terms of share·A'·y, with y = 0 except at the increasing keys ``moved``, the sources."""
        which, reads, reader, weight = self.readers(moved)
        changed, to, delta = self.entries()
        place = torch.searchsorted(moved, to).clamp_max_(len(moved) - 1)
        there = moved[place] == to
        source, target = torch.cat([which, place[there]]), torch.cat([reads, changed[there]])
        rows = torch.cat([reader, changed[there] % self.graph.n])
        column = self.column(moved, moved % self.graph.n).index_select(0, source)
        coefficient = torch.cat([weight, delta[there]]) * column
        return Terms(target, source, share * coefficient * self.row(target, rows))


@dataclass(frozen=True)
class Moved:
    """Rows of a layer's output that change, at the increasing ``key`` (K,).

    Each is its row of ``out`` (n, c) plus a few terms of rows of ``tables``; targets of the terms are
    positions in ``key``. ``lengths``: norms of the tables' rows.
    """

    key: Tensor
    out: Tensor
    terms: tuple[Terms, ...]
    tables: tuple[Tensor, ...]
    lengths: tuple[Tensor, ...]

    def rows(self, place: Tensor) -> Tensor:
        """Return the new rows (P, c) at distinct positions ``place`` (P,) in ``key``."""
        row = torch.full_like(self.key, -1).index_copy_(
            0, place, torch.arange(len(place), device=place.device)
        )
        out = self.out.index_select(0, self.key.index_select(0, place) % len(self.out))
        for terms, table in zip(self.terms, self.tables, strict=True):
            target = row.index_select(0, terms.target)
            at = (target >= 0).nonzero().squeeze(1)
            source, coefficient = terms.source.index_select(0, at), terms.coefficient.index_select(0, at)
            matrix = coo(target.index_select(0, at), source, coefficient, (len(place), len(table)))
            out.addmm_(matrix, table)
        return out

    @cached_property
    def reach(self) -> Tensor:
        """(K, 2) bounds on the norm of each row's change, for its two parts; from norms only."""
        out = self.out.new_zeros(len(self.key), 2)
        for terms, length in zip(self.terms, self.lengths, strict=True):
            parts = terms.coefficient.abs()[:, None] * length.index_select(0, terms.source)
            out.index_add_(0, terms.target, parts)
        return out

    @property
    def whole(self) -> SparseRows:
        """All rows that change."""
        return SparseRows(self.key, self.rows(torch.arange(len(self.key), device=self.key.device)))


@dataclass(frozen=True)
class Layer:
    """A convolution x ↦ A·x with A = Σ_g share_g·row_g·W_g·column_g, x (n, c).

    Rows have two parts: the first ``width`` columns, and the rest.
    """

    shares: tuple[float, ...]
    graphs: tuple[GraphState, ...]
    x: Tensor
    width: int

    @cached_property
    def source(self) -> Tensor:
        """Rows of x, and below them W_g·column_g·x of each graph: ((1 + graphs)·n, c)."""
        n = len(self.x)
        out = self.x.new_empty((1 + len(self.graphs)) * n, self.x.shape[1])
        out[:n] = self.x
        for g, graph in enumerate(self.graphs, 1):
            neighbours = graph.neighbours.index[:, : graph.k]
            weight = graph.edges * graph.scale[1][neighbours]
            for rows in torch.arange(n, device=out.device).split(ROWS):  # of k times as many numbers
                out[g * n + rows] = (weight[rows].unsqueeze(-1) * self.x[neighbours[rows]]).sum(1)
        return out

    @cached_property
    def lengths(self) -> Tensor:
        """Norms of the rows of ``source``."""
        return self._lengths(self.source)

    def _lengths(self, rows: Tensor) -> Tensor:
        """Return (M, 2) norms of the two parts of ``rows`` (M, c)."""
        return torch.stack([part.norm(dim=1) for part in rows.tensor_split([self.width], dim=1)], dim=1)

    @cached_property
    def out(self) -> Tensor:
        """A·x, (n, c)."""
        out = torch.zeros_like(self.x)
        totals = self.source[len(self.x) :].chunk(len(self.graphs))
        for share, graph, total in zip(self.shares, self.graphs, totals, strict=True):
            out.addcmul_(share * graph.scale[0][:, None], total)
        return out

    def changed(self, changes: Sequence[GraphChange | None], moved: SparseRows, only: Tensor | None) -> Moved:
        """Return the output rows that change when x changes at ``moved``, and A by ``changes``.

        A'x' = Ax + (A'x − Ax) + A'(x' − x), a few terms for each row that changes. ``only`` (B,) keys: no
        other row may change.
        """
        n, anew, after = len(self.x), [], []
        for g, (share, graph, change) in enumerate(zip(self.shares, self.graphs, changes, strict=True), 1):
            new = ChangedGraph(graph, GraphChange.nothing(graph) if change is None else change)
            if change is not None:
                anew.append(new.difference(share, g * n))
            if len(moved.key):
                after.append(new.applied(share, moved.key))
        parts = []
        if anew:
            parts.append((Terms.sorted(anew, only, n), self.source, self.lengths))
        if after:
            step = moved.row - self.x.index_select(0, moved.key % n)
            parts.append((Terms.sorted(after, only, n), step, self._lengths(step)))
        distinct = [torch.unique_consecutive(terms.target, return_inverse=True) for terms, *_ in parts]
        key = union([rows for rows, _ in distinct]) if parts else moved.key
        terms = []
        for (some, *_), (rows, place) in zip(parts, distinct, strict=True):
            target = place if rows is key else torch.searchsorted(key, rows).index_select(0, place)
            terms.append(replace(some, target=target))
        return Moved(key, self.out, tuple(terms), tuple(t for _, t, _ in parts), tuple(x for *_, x in parts))


@dataclass(frozen=True)
class Mixture:
    """A graph A = Σ_g share_g·A_g and the layers x⁰, A·x⁰, …, A^L·x⁰, float64.

    Rows have two parts: the first ``width`` columns, and the rest.
    """

    shares: tuple[float, ...]
    graphs: tuple[GraphState, ...]
    x: Tensor
    depth: int
    width: int

    @cached_property
    def layers(self) -> list[Layer]:
        """The convolutions in order."""
        layers = [Layer(self.shares, self.graphs, self.x, self.width)]
        for _ in range(self.depth - 1):
            layers.append(Layer(self.shares, self.graphs, layers[-1].out, self.width))
        return layers

    @property
    def out(self) -> Tensor:
        """A^L·x⁰, (n, c)."""
        return self.layers[-1].out

    def changed(self, changes: Sequence[GraphChange | None], only: Tensor | None = None) -> Moved:
        """Return the rows of ``out`` that change when the graphs change (None: unchanged).

        ``only`` (B,) keys: no other row may change (scope item).
        """
        rows = none(self.x)
        for layer in self.layers[:-1]:
            rows = layer.changed(changes, rows, only).whole
        return self.layers[-1].changed(changes, rows, only)
