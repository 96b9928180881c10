"""The rows most similar to each row, among those of the cells that it asks: candidates for its neighbours.

Cells are asked one by one, each by all rows that ask it in one product, of bfloat16 where the processor
multiplies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankers.item_graphs.bfloat16 import rounded_products
from rankers.item_graphs.mapped_rows import ROWS, UnitRows
from rankers.item_graphs.partition import STEP, Cells, Reach, filled
from rankers.item_graphs.scan import kth
from rankers.sparse_rows import largest, positions

FIRST = 8  # a row asks 1/FIRST of its cells before it knows what the others have to reach
ASKED = 1 << 23  # pairs of a row and a cell, or a row that it finds, in memory at a time
FOUND = 3  # times as many as are wanted are found until the last bound is known
NUMBERS = 1 << 25  # of rows in memory at a time
TIES = 2  # times as many as are wanted may be taken before the best are chosen
LEAST = -2.0  # less than any cosine
BLOCK = 512  # rows compared with all at a time
PRODUCT = 1 << 19  # similarities at a time, which stay in the processor's cache

Rows = NDArray[Any]


@dataclass(frozen=True)
class Found:
    """Places ``item`` that were found near row number ``which``, with similarity ``value``; all (P,)."""

    which: Tensor
    item: Tensor
    value: Tensor

    @classmethod
    def together(cls, parts: Sequence[Found]) -> Found:
        """Return all of them."""
        return cls(*(torch.cat(x) for x in zip(*((p.which, p.item, p.value) for p in parts), strict=True)))

    def reaching(self, bar: Tensor) -> Found:
        """Return those whose similarity is at least the ``bar`` (rows, 1) of their row."""
        kept = torch.from_numpy(np.flatnonzero((self.value >= bar[:, 0].index_select(0, self.which)).numpy()))
        return Found(*(x.index_select(0, kept) for x in (self.which, self.item, self.value)))

    def best(self, count: int, rows: int) -> tuple[Tensor, Tensor]:
        """Return (rows, count) the most similar of each row, and whether (rows,) there were that many."""
        order = torch.from_numpy(np.argsort((4.0 * self.which - self.value.double()).numpy()))
        number = torch.bincount(self.which, minlength=rows)
        first = number.cumsum(0) - number
        place = (first[:, None] + torch.arange(count)).clamp_max_(len(order) - 1)
        return self.item[order[place]], number >= count


@torch.no_grad()
def similar(fast: Tensor | UnitRows, mine: Tensor, count: int) -> Tensor:
    """Return (r, count) the places most similar to ``mine`` (r, d) among all, by rounded products."""
    found, first = list[tuple[Tensor, Tensor]](), 0
    with rounded_products():
        for part in fast.split(ROWS):
            few = min(count, len(part))
            top = [largest(some @ part.T, few) for some in mine.split(BLOCK)]
            value, index = (torch.cat(x) for x in zip(*top, strict=True))
            found.append((value, index + first))
            first += len(part)
    value, index = (torch.cat(x, dim=1) for x in zip(*found, strict=True))
    return index.gather(1, value.topk(count, dim=1).indices)


@torch.no_grad()
def candidates(cells: Cells, fast: Tensor | UnitRows, reach: Reach, count: int, mine: Tensor) -> Tensor:
    """Return (m, count) the places most similar to each of ``mine``, in the cells that it asks; int32.

    ``mine`` (n,): whether a place is one of the m that ask.
    """
    out, done = torch.empty(int(mine.sum()), count, dtype=torch.int32), 0
    most = max(1, min(ASKED // (reach.asked + FOUND * count), NUMBERS // fast.shape[1]))
    last = torch.searchsorted(cells.start, torch.arange(most, len(fast) + most, most)).unique()
    first = 0
    with rounded_products():
        for stop in last.clamp_max(len(cells.near)).unique().tolist():
            asked = torch.cat([cells.nearest_to(fast, cell, reach) for cell in range(first, stop)])
            places = slice(int(cells.start[first]), int(cells.start[stop]))
            some, first = positions(mine[places]), stop
            if len(some):
                to = slice(done, done := done + len(some))
                out[to] = _of_cells(cells, fast, fast[places][some], asked[some], count)
    return out


def _of_cells(cells: Cells, fast: Tensor | UnitRows, mine: Tensor, asked: Tensor, count: int) -> Tensor:
    """Return (r, count) the places most similar to ``mine`` (r, d) in the cells ``asked`` (r, p).

    Of all places, for rows whose cells have fewer.
    """
    bar, found = torch.full((len(mine), 1), LEAST), list[Found]()
    for cells_of in asked.tensor_split([1, 1 + asked.shape[1] // FIRST], dim=1):
        found = [Found.together([*found, *_asking(cells, fast, mine, cells_of, bar, count)])]
        bar = kth(found[0].value, found[0].which, count, len(mine)).clamp_min_(LEAST)
        found = [found[0].reaching(bar)]
    best, enough = found[0].best(count, len(mine))
    few = (~enough).nonzero().squeeze(1)
    if len(few):
        best[few] = similar(fast, mine[few], count)
    return best


def _asking(
    cells: Cells, fast: Tensor | UnitRows, mine: Tensor, asked: Tensor, bar: Tensor, count: int
) -> Iterator[Found]:
    """Yield what ``mine`` (r, d) find from ``bar`` (r, 1) on in the cells ``asked`` (r, p).

    At most `TIES` · ``count`` of each cell for each row, on average. In numpy but for the products, since an
    operation on few numbers takes torch several times as long.
    """
    p, order = asked.shape[1], asked.reshape(-1).argsort(stable=True)
    who = torch.div(order, max(1, p), rounding_mode="floor")
    stop = torch.bincount(asked.reshape(-1), minlength=len(cells.near)).cumsum(0).tolist()
    known, start = bool((bar > LEAST).any()), cells.start.tolist()
    least = bar.numpy()
    held = np.empty(max(PRODUCT, STEP * (int(cells.start.diff().max()) + STEP)), dtype=np.float32)
    masks = np.empty(len(held), dtype=bool)
    for cell, (first, last) in enumerate(zip([0, *stop], stop, strict=False)):
        size = start[cell + 1] - start[cell]
        if first == last or not size:
            continue
        columns = fast[filled(cells.places(cell))].T
        width = columns.shape[1]
        mask = masks[: len(masks) // width * width].reshape(-1, width)
        each = max(1, PRODUCT // width // STEP) * STEP
        for at in range(first, last, each):
            asking = slice(at, min(last, at + each))
            rows, some = mine.index_select(0, who[filled(asking)]), who[asking].numpy()
            similarity = held[: len(rows) * width].reshape(-1, width)
            torch.mm(rows, columns, out=torch.from_numpy(similarity))
            similarity = similarity[: len(some)]
            lowest = least[some] if known else _kth(similarity[:, :size], count)
            found = _reaching(similarity, lowest, mask, size, count)
            which, item, value = _largest(similarity[:, :size], count) if found is None else found
            yield Found(*map(torch.from_numpy, (some[which], item + start[cell], value)))


def _reaching(
    similarity: Rows, bar: Rows, mask: Rows, size: int, count: int
) -> tuple[Rows, Rows, Rows] | None:
    """Return row, column and value of what is at least ``bar`` (r, 1) in the first ``size`` columns.

    None if it is more than `TIES` · ``count`` of each row of ``similarity`` (r, c), on average. Numpy
    compares with a number in a tenth of the time that it needs for a column.
    """
    torch.from_numpy(similarity).sub_(torch.from_numpy(bar))
    at = np.flatnonzero(np.greater_equal(similarity, 0, out=mask[: len(bar)]))
    if len(at) > TIES * count * len(bar):
        similarity += bar
        return None
    row = at // similarity.shape[1]
    item = at - row * similarity.shape[1]
    inside = np.flatnonzero(item < size)
    row, item = row[inside], item[inside]
    return row, item, similarity[row, item] + bar[row, 0]


def _kth(similarity: Rows, k: int) -> Rows:
    """Return (r, 1) the k-th largest of each row of ``similarity`` (r, c); `LEAST` if there are fewer."""
    if similarity.shape[1] < k:
        return np.full((len(similarity), 1), LEAST, dtype=similarity.dtype)
    return np.sort(similarity, axis=1)[:, -k][:, None]  # a partition or a top-k takes several times as long


def _largest(similarity: Rows, count: int) -> tuple[Rows, Rows, Rows]:
    """Return row, column and value of the ``count`` largest of each row of ``similarity`` (r, c)."""
    value, item = torch.from_numpy(similarity).topk(min(count, similarity.shape[1]), dim=1)
    row = np.repeat(np.arange(len(similarity)), value.shape[1])
    return row, item.reshape(-1).numpy(), value.reshape(-1).numpy()
