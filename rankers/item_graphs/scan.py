"""One pass over all items for a batch of new rows: the lists that they may enter, and their own lists.

Shadows of the rows are multiplied instead of the rows where they tell enough, in bfloat16 if the processor
multiplies it, with half the bytes and several times the speed of float32, and in blocks that fit into its
cache. Items are sorted by the bars of their lists, so that the largest product of a few neighbours in this
order tells whether to look at each: comparing all would take longer than computing them. Rounding is bounded
by |x·y − x̂·ŷ| ≤ |x − x̂|·|ŷ| + |x|·|y − ŷ|, so no row is missed; neighbours are decided elsewhere, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rankers.item_graphs.bfloat16 import multiplies_bfloat16
from rankers.item_graphs.knn import MARGIN, Directions
from rankers.item_graphs.shadow import Basis
from rankers.sparse_rows import Ragged, ascending, ascending_order, at_least, largest, positions, true_at

PRODUCTS = 1 << 20  # products per block, some megabytes, which stay in the processor's cache
MANY = 4096  # rows from which bfloat16 and shadows are quicker
GROUP = 8  # consecutive items of which only the largest product is compared
RISING = 4  # bars of the nearest rise after the first block, after so many, after so many times as many, …
SAMPLE = 32  # one of so many items gives the first lower bound of the nearest
ROWS = 1 << 14  # rows rounded at a time


@dataclass(frozen=True)
class Quick:
    """Shadows of rows of length 1 or 0, rounded for the product, by decreasing bar.

    Parameters
    ----------
    basis
        What they are shadows on.
    rows
        (m, w); n shadows, and zeros up to a multiple of `GROUP`.
    rest
        (n,) float32 norms of what the shadows lack.
    item
        (n,) number of each row in the catalogue.
    lowest
        (m,) float32 cosine below which nothing enters the row's list; decreasing.
    lost
        Largest norm of a rounding error.
    """

    basis: Basis
    rows: Tensor
    rest: Tensor
    item: Tensor
    lowest: Tensor
    lost: float

    @classmethod
    @torch.no_grad()
    def of(cls, unit: Directions, lowest: Tensor, basis: Basis, kind: torch.dtype | None = None) -> Quick:
        """Return shadows of ``unit`` as ``kind``, bfloat16 or float32; None: the faster one."""
        lowest, item = lowest.sort(descending=True)
        n, lacking, lost = len(unit), -len(unit) % GROUP, 0.0
        shape = (n + lacking, basis.width(unit.steps.shape[1]))
        rows, rest = unit.steps.new_zeros(shape, dtype=kind or _quickest(unit)), lowest.new_empty(n)
        for some, to, left in zip(*(x.split(ROWS) for x in (item, rows[:n], rest)), strict=True):
            shadow, norm = basis.shadow(unit[some])
            left.copy_(norm)
            lost = max(lost, float((shadow - to.copy_(shadow)).norm(dim=1).amax()))
        return cls(basis, rows, rest, item, F.pad(lowest, (0, lacking), value=float(lowest[-1])), lost)

    def error(self, new: Tensor, rounded: Tensor) -> Tensor:
        """Return a (B,) float32 bound on |product of ``rounded`` − that of ``new``| before it is stored.

        ``rounded`` and ``new`` are (B, w).
        """
        taken, length = (x.norm(dim=1) for x in (new - rounded.double(), new))
        return (taken * (1 + self.lost) + length * self.lost + MARGIN).float()


def _quickest(unit: Directions) -> torch.dtype:
    """Return bfloat16 if the CPU multiplies it at twice the speed of float32 and there are enough rows."""
    bfloat16 = unit.steps.device.type == "cpu" and len(unit) >= MANY and multiplies_bfloat16()
    return torch.bfloat16 if bfloat16 else torch.float32


@torch.no_grad()
def scan(new: Tensor, quick: Quick, count: int, enters: bool = True) -> tuple[Ragged, Ragged]:
    """Return which items each of ``new`` (B, d) float64 may be a neighbour of, and which are its nearest.

    The first contains all items to which its cosine is at least their bar, and more; without ``enters`` no
    items. The second contains all items among its ``count`` nearest, ties included, and more. Rows have
    length 1 or 0; a zero row has no nearest items. O(B·block) memory unless many tie.
    """
    kind, n, changes = quick.rows.dtype, len(quick.item), len(new)
    shadow, rest = quick.basis.shadow(new)
    rounded, slack = shadow.to(kind), 2 * rest.float()
    error, across = quick.error(shadow, rounded), rounded.T.contiguous()
    least = (quick.lowest - error.amax() if enters else torch.full_like(quick.lowest, torch.inf)).to(kind)
    top = (rounded @ quick.rows[:n:SAMPLE].T).float().addr_(slack, quick.rest[::SAMPLE], alpha=-1)
    bar = torch.full_like(error, -torch.inf)
    if count <= top.shape[1]:
        bar = _bar(largest(top, count)[0][:, -1], slack, error, kind)
    bar = torch.where(new.any(1), bar, torch.inf).to(kind)
    found, parts, again = Near.none(rounded), list[Near](), 1
    block = GROUP * max(1, PRODUCTS // (GROUP * max(1, changes)))  # of items
    held = rounded.new_empty(min(block, len(quick.rows)), changes)
    for number, start in enumerate(range(0, len(quick.rows), block), 1):
        rows = quick.rows[start : start + block]
        near = torch.mm(rows, across, out=held[: len(rows)])
        lowest = least[start + GROUP - 1 : start + len(rows) : GROUP]
        parts.append(Near.of_groups(near, true_at(_reaching(near, lowest, bar)), start))
        if number == again or start + block >= len(quick.rows):  # more items raise the bar
            some = Near.joined(parts)
            reach = torch.stack(some.reaching(least, bar)).any(0)
            found = Near.joined([found, some.take(positions(reach & (some.place < n)))])
            lower = found.value - slack.index_select(0, found.which) * quick.rest.index_select(0, found.place)
            risen = _bar(kth(lower, found.which, count, changes).squeeze(1), slack, error, kind)
            bar, parts, again = torch.maximum(bar, risen.to(kind)), [], RISING * again
    found = found.take(ascending_order(found.which * n + quick.item[found.place]))
    key = found.which * n + quick.item[found.place]
    entered, mine = found.reaching(least, bar)
    return Ragged.of(key[entered], changes, n), Ragged.of(key[mine], changes, n)


@dataclass(frozen=True)
class Near:
    """Products ``value`` (M,) of the new row ``which`` with the row at ``place``."""

    which: Tensor
    place: Tensor
    value: Tensor

    @classmethod
    def none(cls, like: Tensor) -> Near:
        """Return no products."""
        return cls(*(like.new_empty(0, dtype=kind) for kind in (torch.long, torch.long, like.dtype)))

    @classmethod
    def of_groups(cls, near: Tensor, at: Tensor, start: int) -> Near:
        """Return the products of groups ``at`` (G,) of ``near`` (b, B), products with rows from ``start``."""
        changes, inside = near.shape[1], torch.arange(GROUP, device=near.device)
        group, which = torch.div(at, changes, rounding_mode="floor"), at % changes
        place, which = ((group * GROUP)[:, None] + inside).view(-1), which.repeat_interleave(GROUP)
        return cls(which, place + start, near.view(-1).index_select(0, place * changes + which))

    @classmethod
    def joined(cls, parts: Sequence[Near]) -> Near:
        """Return all products."""
        columns = zip(*((part.which, part.place, part.value) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def take(self, at: Tensor) -> Near:
        """Return the products at ``at``."""
        return Near(*(x.index_select(0, at) for x in (self.which, self.place, self.value)))

    def reaching(self, least: Tensor, bar: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether each reaches the ``least`` of its place, and the ``bar`` of its new row."""
        bars = least.index_select(0, self.place), bar.index_select(0, self.which)
        return self.value >= bars[0], self.value >= bars[1]


def _bar(kth: Tensor, slack: Tensor, error: Tensor, kind: torch.dtype) -> Tensor:
    """Return a lower bound (B,) of the products of the k nearest of each new row.

    ``kth`` (B,) is the k-th largest of its products less their slack, the most by which they exceed cosines;
    ``slack`` (B,) the largest of these. ``kind`` is the type in which products were stored.
    """
    return kth - torch.finfo(kind).eps / 2 * (kth.abs() + slack) - 2 * error


def kth(value: Tensor, which: Tensor, k: int, rows: int) -> Tensor:
    """Return (rows, 1) float32 k-th largest ``value`` of each row in ``which``; −inf if there are fewer.

    Values are within ±2, so 4·row − value increases with the row, and within a row with decreasing value.
    """
    if not len(value):
        return torch.full((rows, 1), -torch.inf, device=value.device)
    rising = ascending(4.0 * which - value.double())
    count = torch.bincount(which, minlength=rows)
    at = (count.cumsum(0) - count + k - 1).clamp_max_(len(rising) - 1)
    kth = 4.0 * torch.arange(rows, device=value.device) - rising[at]
    return kth.float().masked_fill(count < k, -torch.inf)[:, None]


def _reaching(near: Tensor, least: Tensor, bar: Tensor) -> Tensor:
    """Return in which groups of ``near`` (b, B) one may reach ``least`` (b / `GROUP`,) or ``bar`` (B,).

    Of bfloat16, the bits are compared: as integers, they increase with positive numbers and are all above
    those of negative numbers; everything reaches what is not above 0.
    """
    if near.dtype == torch.bfloat16:
        anything = torch.iinfo(torch.int16).min
        least, bar = (x.view(torch.int16).masked_fill(x <= 0, anything) for x in (least, bar))
        near = near.view(torch.int16)
    most = near.view(-1, GROUP, near.shape[1]).amax(1)
    return at_least(most, least[:, None]).logical_or_(at_least(most, bar))
