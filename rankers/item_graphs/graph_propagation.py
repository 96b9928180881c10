"""Graph convolution of a batch of changed graphs; only rows that change are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from rankers.item_graphs.graph_change import GraphChange, GraphState
from rankers.sparse_rows import SparseRows, ascending_order, coo, none, positions, union

ROWS = 1 << 12  # rows of a `Layer` at a time
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
        terms = cls.joined(parts)
        if only is not None:
            mine = only.index_select(0, terms.target // n) == terms.target
            terms = terms.take(positions(mine))
        return terms.take(ascending_order(terms.target))

    @classmethod
    def joined(cls, parts: Sequence[Terms]) -> Terms:
        """Return all terms."""
        columns = zip(*((part.target, part.source, part.coefficient) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def take(self, at: Tensor) -> Terms:
        """Return the terms at ``at`` (Q,)."""
        return Terms(*(x.index_select(0, at) for x in (self.target, self.source, self.coefficient)))


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
        at = positions(self.touched.index_select(0, key & (PLACES - 1)))
        place = torch.searchsorted(self.change.key, key.index_select(0, at)).clamp_max_(
            len(self.change.key) - 1
        )
        there = positions(self.change.key[place] == key[at])
        return factor.index_copy_(0, at[there], self.scales[side].index_select(0, place[there]))

    def readers(self, key: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the edges r → j of the unchanged graph, with j at ``key``.

        Returns the position in ``key``, the key of r, r, and the weight w_rj.
        """
        column, length = key % self.graph.n, self.graph.k + 1
        edges = self.graph.reverse.take(column)
        reader, which = (edges.item // length).long(), edges.which
        weight = self.graph.weight(self.graph.neighbours.value.view(-1).index_select(0, edges.item))
        return which, (key - column).index_select(0, which) + reader, reader, weight

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the entries of W that change: keys of row and column, w' − w."""
        entries = self.change.entries
        row = self.change.key.index_select(0, entries.place)
        return row, row - row % self.graph.n + entries.column, entries.delta

    def difference(self, share: float, totals: int) -> Terms:
        """Return the terms of share·(A'·x − A·x).

        It is share·[(row' − row)·t + row'·(W·(column' − column)·x + (W' − W)·column'·x)]. Sources are rows of
        x (n, d) and of t = W·column·x, whose numbers are ``totals`` above those of x.
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
class Step:
    """Changes ``x`` (M, c) of rows, which are sources of terms, and ``lengths`` (M, 2) as of a `Layer`."""

    x: Tensor
    lengths: Tensor

    def add(self, out: Tensor, terms: Terms) -> None:
        """Add terms to the rows of ``out``."""
        _add(out, terms, self.x)


@dataclass(frozen=True)
class Moved:
    """Rows of a layer's output that change, at the increasing ``key`` (K,).

    Each is its row of the unchanged ``layer`` plus a few terms of each of ``sources``; targets of the terms
    are positions in ``key``.
    """

    key: Tensor
    layer: Layer
    terms: tuple[Terms, ...]
    sources: tuple[Layer | Step, ...]

    def rows(self, place: Tensor) -> Tensor:
        """Return the new rows (P, c) at distinct positions ``place`` (P,) in ``key``."""
        row = torch.full_like(self.key, -1).index_copy_(
            0, place, torch.arange(len(place), device=place.device)
        )
        out = self.layer.rows(self.key.index_select(0, place) % len(self.layer.x))
        for terms, source in zip(self.terms, self.sources, strict=True):
            target = row.index_select(0, terms.target)
            at = positions(target >= 0)
            source.add(out, replace(terms.take(at), target=target.index_select(0, at)))
        return out

    @cached_property
    def reach(self) -> Tensor:
        """(K, 2) bounds on the lengths of each row's change; from lengths only."""
        out = self.layer.x.new_zeros(len(self.key), 2)
        for terms, source in zip(self.terms, self.sources, strict=True):
            parts = terms.coefficient.abs()[:, None] * source.lengths.index_select(0, terms.source)
            out.index_add_(0, terms.target, parts)
        return out

    @property
    def whole(self) -> SparseRows:
        """All rows that change."""
        return SparseRows(self.key, self.rows(torch.arange(len(self.key), device=self.key.device)))


@dataclass(frozen=True)
class Layer:
    """A convolution x ↦ A·x with A = Σ_g share_g·row_g·W_g·column_g, x (n, c).

    Sources of terms are the rows of x and the totals W_g·column_g·x, whose numbers are g·n above (g = 1, 2,
    …). The two lengths of a row are its norm and that of ``inner`` of it, which is linear; None: 0.
    """

    shares: tuple[float, ...]
    graphs: tuple[GraphState, ...]
    x: Tensor
    inner: Callable[[Tensor], Tensor] | None

    @cached_property
    def totals(self) -> Tensor:
        """W_g·column_g·x of each graph, (graphs·n, c)."""
        n = len(self.x)
        out = self.x.new_empty(len(self.graphs) * n, self.x.shape[1])
        for g, graph in enumerate(self.graphs):
            for rows in torch.arange(n, device=out.device).split(ROWS):  # of k times as many numbers
                index = graph.neighbours.index[rows, : graph.k]
                weight = graph.edges(rows) * graph.scale[1][index]
                out[g * n + rows] = (weight.unsqueeze(-1) * self.x[index]).sum(1)
        return out

    @cached_property
    def lengths(self) -> Tensor:
        """Lengths ((1 + graphs)·n, 2) of the sources."""
        parts = (part for table in (self.x, self.totals) for part in table.split(ROWS))
        return torch.cat([self.measure(part) for part in parts])

    def rows(self, items: Tensor) -> Tensor:
        """Return the rows (M, c) of A·x."""
        out = self.x.new_zeros(len(items), self.x.shape[1])
        for g, (share, graph) in enumerate(zip(self.shares, self.graphs, strict=True)):
            scale = share * graph.scale[0].index_select(0, items)
            out.addcmul_(scale[:, None], self.totals.index_select(0, items + g * len(self.x)))
        return out

    @property
    def out(self) -> Tensor:
        """A·x, (n, c)."""
        return torch.cat(
            [self.rows(part) for part in torch.arange(len(self.x), device=self.x.device).split(ROWS)]
        )

    def add(self, out: Tensor, terms: Terms) -> None:
        """Add terms to the rows of ``out``."""
        n = len(self.x)
        of_x, of_totals = terms.take(positions(terms.source < n)), terms.take(positions(terms.source >= n))
        _add(out, of_x, self.x)
        _add(out, replace(of_totals, source=of_totals.source - n), self.totals)

    def measure(self, rows: Tensor) -> Tensor:
        """Return the lengths (M, 2) of ``rows`` (M, c)."""
        second = rows.new_zeros(len(rows)) if self.inner is None else self.inner(rows).norm(dim=1)
        return torch.stack([rows.norm(dim=1), second], dim=1)

    def changed(self, changes: Sequence[GraphChange | None], moved: SparseRows, only: Tensor | None) -> Moved:
        """Return the output rows that change when x changes at ``moved``, and A by ``changes``.

        A'x' = Ax + (A'x − Ax) + A'(x' − x), a few terms for each row that changes. ``only`` (B,) keys: no
        other row may change.
        """
        n, anew, after = len(self.x), [], []
        parts: list[tuple[Terms, Layer | Step]] = []
        for g, (share, graph, change) in enumerate(zip(self.shares, self.graphs, changes, strict=True), 1):
            new = ChangedGraph(graph, GraphChange.nothing(graph) if change is None else change)
            if change is not None:
                anew.append(new.difference(share, g * n))
            if len(moved.key):
                after.append(new.applied(share, moved.key))
        if anew:
            parts.append((Terms.sorted(anew, only, n), self))
        if after:
            step = moved.row - self.x.index_select(0, moved.key % n)
            parts.append((Terms.sorted(after, only, n), Step(step, self.measure(step))))
        distinct = [torch.unique_consecutive(terms.target, return_inverse=True) for terms, _ in parts]
        key = union([rows for rows, _ in distinct]) if parts else moved.key
        terms = []
        for (some, _), (rows, place) in zip(parts, distinct, strict=True):
            target = place if rows is key else torch.searchsorted(key, rows).index_select(0, place)
            terms.append(replace(some, target=target))
        return Moved(key, self, tuple(terms), tuple(source for _, source in parts))


def _add(out: Tensor, terms: Terms, table: Tensor) -> None:
    out.addmm_(coo(terms.target, terms.source, terms.coefficient, (len(out), len(table))), table)


@dataclass(frozen=True)
class Mixture:
    """A graph A = Σ_g share_g·A_g and the layers x⁰, A·x⁰, …, A^L·x⁰, float64; ``inner`` as in `Layer`."""

    shares: tuple[float, ...]
    graphs: tuple[GraphState, ...]
    x: Tensor
    depth: int
    inner: Callable[[Tensor], Tensor] | None

    @cached_property
    def layers(self) -> list[Layer]:
        """The convolutions in order."""
        layers = [Layer(self.shares, self.graphs, self.x, self.inner)]
        for _ in range(self.depth - 1):
            layers.append(Layer(self.shares, self.graphs, layers[-1].out, self.inner))
        return layers

    def rows(self, items: Tensor) -> Tensor:
        """Return the rows (M, c) of A^L·x⁰."""
        return self.layers[-1].rows(items)

    def changed(self, changes: Sequence[GraphChange | None], only: Tensor | None = None) -> Moved:
        """Return the rows of A^L·x⁰ that change when the graphs change (None: unchanged).

        ``only`` (B,) keys: no other row may change (scope item).
        """
        rows = none(self.x)
        for layer in self.layers[:-1]:
            rows = layer.changed(changes, rows, only).whole
        return self.layers[-1].changed(changes, rows, only)
