"""Exact change of a k-nearest-neighbour graph by one new feature, without rebuilding the graph.

Each change (an item and its new feature) is applied alone to the unchanged graph. It affects the item's own
row, the rows that list the item, and the rows whose lists it enters; no other list can change. Lists from an
index are taken as given: the item's own list is computed exactly, the item enters others if it is nearer than
their last entry, and its own feature changes nothing. Rows of changes have the key ``change · n + row``, so
that a batch of changes is one sparse table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from rankers.configs import Norm
from rankers.item_graphs.item_graph import inverse
from rankers.item_graphs.knn import MARGIN, Directions, Neighbours, order, pair_cosine
from rankers.item_graphs.scan import MANY, Quick, scan
from rankers.item_graphs.shadow import Basis
from rankers.sparse_rows import Ragged, ascending_order, union

TRIED = 64  # rows on which the rounding of `GraphState.quick` is tried
CROWDED = 512  # rows per scanned one that are decided exactly in less time than a product in float32 takes


@dataclass(frozen=True)
class GraphState:
    """A built graph over n items, stored so that single changes are cheap; float64.

    Parameters
    ----------
    unit
        `Directions` (n, d) of the features.
    neighbours
        The k + 1 nearest of each row; the first k are the edges.
    norm
        Normalisation of the edges.
    clamp
        Whether negative cosines are set to 0.
    approximate
        Whether the neighbours came from an index.
    """

    unit: Directions
    neighbours: Neighbours
    norm: Norm
    clamp: bool
    approximate: bool = False

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.unit)

    @property
    def k(self) -> int:
        """Edges per row, including the loop."""
        return self.neighbours.index.shape[1] - 1

    @cached_property
    def quick(self) -> Quick:
        """``unit`` as used by `scan`: in float32 if the errors of bfloat16 let in too many rows.

        They do if all rows are alike, as projected features can be after training.
        """
        lowest = (self.neighbours.value[:, self.k - 1] - MARGIN).float()
        basis = Basis.of(self.unit, lowest) if self.n >= MANY else Basis()
        quick = Quick.of(self.unit, lowest, basis)
        if quick.rows.dtype == torch.float32:
            return quick
        some = self.unit[:: max(1, self.n // TRIED)]
        found = sum(len(each.item) for each in scan(some, quick, self.k + 2))
        return quick if found <= CROWDED * len(some) else Quick.of(self.unit, lowest, basis, torch.float32)

    def weight(self, cosine: Tensor) -> Tensor:
        """Return the weights of edges before normalisation."""
        return cosine.clamp_min(0) if self.clamp else cosine

    def edges(self, rows: Tensor | slice) -> Tensor:
        """Return the weights (M, k) of some rows before normalisation."""
        return self.weight(self.neighbours.value[rows, : self.k])

    @cached_property
    def degree(self) -> Tensor:
        """(n,) sums of each row's weights."""
        return self.edges(slice(None)).sum(1)

    @cached_property
    def reverse(self) -> Ragged:
        """Edges by column, int32: the number of each entry of the lists."""
        column = self.neighbours.index[:, : self.k].reshape(-1)
        count, edge = torch.bincount(column, minlength=self.n), column.argsort(stable=True)
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        return Ragged(start, (edge + torch.div(edge, self.k, rounding_mode="floor")).int())

    def scales(self, degree: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and column factors of the normalisation: A_rj = row(d_r)·w_rj·column(d_j)."""
        if self.norm == "row":
            return inverse(degree), torch.ones_like(degree)
        root = inverse(degree.sqrt())
        return root, root

    @cached_property
    def scale(self) -> tuple[Tensor, Tensor]:
        """`scales` (n,) of the unchanged graph."""
        return self.scales(self.degree)

    def change(self, items: Tensor, new: Tensor, own_row_only: bool = False) -> GraphChange:
        """Return the change of the graph if ``items`` (B,) have the `directions` ``new`` (B, d), each alone.

        ``own_row_only``: lists and degrees of the other rows do not change (scope item).
        """
        own = torch.arange(len(items), device=items.device) * self.n + items
        differs = (new != self.unit[items]).any(1) | (not self.approximate)
        another = (new[1:] != new[:-1]).any(1)  # an image put onto consecutive items is scanned once
        which = torch.cat([another.new_zeros(1), another]).cumsum(0)
        pictures = new[torch.cat([another.new_ones(1), another])]
        enters, nearest = (
            found.take(which) for found in scan(pictures, self.quick, self.k + 2, enters=not own_row_only)
        )
        index, value = self._own_lists(items, new, nearest)
        weight, gap = self.weight(value[:, : self.k]), value[:, self.k - 1] - value[:, self.k]
        mine = self._own_rows(items, index[:, : self.k], weight)
        if own_row_only:
            return GraphChange(own, weight.sum(1), mine, gap).of(differs, self.n)
        rows, entries = self._other_rows(own, new, enters)
        key = torch.cat([own, rows])
        order = ascending_order(key)
        key = key[order]
        place = torch.empty_like(order).index_copy_(0, order, torch.arange(len(key), device=key.device))
        parts = _join(mine, entries)
        parts = EntryChanges(place[parts.place], parts.column, parts.delta)
        degree = self.degree[key % self.n].index_add_(0, parts.place, parts.delta)
        degree[place[: len(own)]] = weight.sum(1)  # not by differences, since it may be exactly 0
        return GraphChange(key, degree, parts, gap).of(differs, self.n)

    def relisted(self, item: Tensor, new: Tensor) -> GraphState:
        """Return the graph with one item's new row: the slow reference for `change` of lists from an index.

        The item (1,), with direction ``new`` (1, d), is compared with the members of every list, and every
        item with it: O(n·(d + k)).
        """
        if torch.equal(new, self.unit[item]):
            return self
        unit, everyone = self.unit.replaced(item, new), torch.arange(self.n, device=item.device)
        cosine = unit.cosines(new, Ragged(torch.tensor([0, self.n], device=item.device), everyone))
        index = torch.cat([self.neighbours.index, item.expand(self.n, 1)], dim=1)
        gone = self.neighbours.index == item
        value = torch.cat([self.neighbours.value.masked_fill(gone, -torch.inf), cosine[:, None]], dim=1)
        rising = index.sort(dim=1, stable=True)
        index, value = order(rising.values, value.gather(1, rising.indices), self.k + 1)
        mine = order(everyone[None], cosine[None], self.k + 1)
        index[item], value[item] = mine
        return replace(self, unit=unit, neighbours=Neighbours(index, value))

    def _own_rows(self, items: Tensor, index: Tensor, weight: Tensor) -> EntryChanges:
        """Return the entries that replace the items' lists: old ones out, new ones in; rows 0 … B − 1."""
        place = torch.arange(len(items), device=items.device).repeat_interleave(2 * self.k)
        column = torch.cat([self.neighbours.index[items, : self.k], index], dim=1)
        delta = torch.cat([-self.edges(items), weight], dim=1)
        return EntryChanges(place, column.reshape(-1), delta.reshape(-1))

    def _own_lists(self, items: Tensor, new: Tensor, found: Ragged) -> tuple[Tensor, Tensor]:
        """Return index and value of the k + 1 nearest of each item, from ``found`` and its own new row."""
        cosine, length = self.unit.cosines(new, found), self.k + 1
        others = found.item != items.index_select(0, found.which)
        which = torch.cat([found.which[others], torch.arange(len(items), device=items.device)])
        index = torch.cat([found.item[others], items])
        value = torch.cat([cosine[others], pair_cosine(new, new)])
        order = ascending_order(index)  # by row, then decreasing cosine, then increasing index
        order = order[value[order].argsort(descending=True, stable=True)]
        order = order[ascending_order(which[order])]
        count = torch.bincount(which, minlength=len(items))
        places = (count.cumsum(0) - count)[:, None] + torch.arange(length, device=items.device)
        first = order[places.clamp_max_(len(order) - 1)]
        index, value = index[first], value[first]
        zero = ~new.any(1)  # ties with all rows at 0, including itself
        index[zero], value[zero] = torch.arange(length, device=items.device), 0.0
        return index, value

    def _other_rows(self, own: Tensor, new: Tensor, found: Ragged) -> tuple[Tensor, EntryChanges]:
        """Return the keys and entries of rows that list the item or that it enters.

        In each, one entry changes, and another one may leave or enter instead. Keys are distinct; in the
        entries, they are rows B, B + 1, … of the change.
        """
        key, place = self._candidates(own, found)
        row, item = key % self.n, own[key // self.n] % self.n
        several = Ragged.of(key, len(own), self.n)
        cosine, listed = self.unit.cosines(new, several), place < self.k
        # the k-th neighbour without the item: the (k + 1)-th if the item is listed
        bar = row * (self.k + 1) + torch.where(listed, self.k, self.k - 1)
        bar_value, bar_index = (
            x.view(-1).index_select(0, bar) for x in (self.neighbours.value, self.neighbours.index)
        )
        enters = (cosine > bar_value) | ((cosine == bar_value) & (item < bar_index))
        old = torch.where(listed, self.weight(self.neighbours.value[row, place]), 0)
        mine = torch.where(enters, self.weight(cosine), 0) - old
        # listed and stays: no other entry changes; listed and leaves: the bar enters; new: the bar leaves
        other = torch.where(listed, 1.0, -1.0) * self.weight(bar_value)
        touched, swapped = listed | enters, listed != enters
        position = len(own) - 1 + touched.cumsum(0)
        entries = _join(
            EntryChanges(position[touched], item[touched], mine[touched]),
            EntryChanges(position[swapped], bar_index[swapped], other[swapped]),
        )
        return key[touched], entries

    def _candidates(self, own: Tensor, found: Ragged) -> tuple[Tensor, Tensor]:
        """Return (key, place) of other rows that list the item (place < k) or that it may enter (place k)."""
        first, lists = own - own % self.n, self.reverse.take(own % self.n)
        listed, near = (
            first.index_select(0, some.which) + rows
            for some, rows in ((lists, lists.item // (self.k + 1)), (found, found.item))
        )
        key = union([listed, near])
        place = torch.full_like(key, self.k)
        place[torch.searchsorted(key, listed)] = lists.item.long() % (self.k + 1)
        others = key != own.index_select(0, key // self.n)
        return key[others], place[others]


@dataclass(frozen=True)
class EntryChanges:
    """Changed entries of the weight matrix: ``place`` of the row in the change, ``column``, ``delta``."""

    place: Tensor
    column: Tensor
    delta: Tensor


@dataclass(frozen=True)
class GraphChange:
    """Rows whose lists changed.

    Parameters
    ----------
    key
        (T,) increasing.
    degree
        (T,) new degrees.
    entries
        Changed entries; their places are positions in ``key``.
    gap
        (B,) difference in cosine between the item's last neighbour and the next item.
    """

    key: Tensor
    degree: Tensor
    entries: EntryChanges
    gap: Tensor

    @classmethod
    def nothing(cls, graph: GraphState) -> GraphChange:
        """Return no change of ``graph``."""
        key, number = graph.neighbours.index.new_zeros(0), graph.degree.new_zeros(0)
        return cls(key, number, EntryChanges(key, key, number), number)

    def of(self, changes: Tensor, n: int) -> GraphChange:
        """Return the change where ``changes`` (B,) is True, and no change elsewhere."""
        if changes.all():
            return self
        keep = changes[self.key // n]
        kept, place = keep[self.entries.place], keep.cumsum(0) - 1
        entries = EntryChanges(
            place[self.entries.place[kept]], self.entries.column[kept], self.entries.delta[kept]
        )
        return GraphChange(self.key[keep], self.degree[keep], entries, self.gap)


def _join(a: EntryChanges, b: EntryChanges) -> EntryChanges:
    return EntryChanges(
        torch.cat([a.place, b.place]), torch.cat([a.column, b.column]), torch.cat([a.delta, b.delta])
    )
