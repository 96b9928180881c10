"""Nearest neighbours in large tables: candidates from nearby cells, selected by exact cosines.

faiss puts the rows into about 2·√n cells (k-means), as in an inverted file (Sivic & Zisserman, ICCV 2003).
A row is compared with the rows of the cells whose centres are nearest to it, cell by cell: one product for
all rows that ask a cell. How many each asks is measured on a sample of rows whose exact neighbours are known;
if it is more than half of all cells, the exact search is as fast and is used instead. Neighbours and their
order are decided by the float64 cosines of `knn`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rankers.item_graphs.knn import (
    BLOCK_BYTES,
    SPARE,
    Neighbours,
    candidate_cosines,
    directions,
    nearest,
    order,
    select,
)
from rankers.item_graphs.mapped_rows import ROWS, UnitRows
from rankers.item_graphs.scan import kth
from rankers.sparse_rows import above, largest, true_at
from recsim_gen.core.progress import say
from recsim_gen.core.store import cached_array, fingerprint

RECALL = 0.998  # on a sample; a target of 0.995 left 0.989 of all in one of four tables of 100,000 rows
WITHIN = 0.9995  # of a sample: in the cells near a row's cell, among which it has its own order
SAMPLE = 512  # rows whose exact neighbours are computed: a thousandth of an exact search of 500,000
MOST = 2  # a row asks at most 1/MOST of the cells
TOGETHER = 3  # times as many cells are asked by all rows of a cell, whose products need no gathering
FIRST = 8  # a row asks 1/FIRST of its cells before it knows what the others have to reach
ASKED = 1 << 23  # pairs of a row and a cell in memory at a time
NUMBERS = 1 << 25  # of rows in memory at a time
BLOCK = 4096  # rows decided at a time
PRODUCT = 1 << 17  # similarities at a time: into memory that is there, and in the processor's cache
EACH = 25  # rows per cell in k-means; the cells need not be optimal


@dataclass(frozen=True)
class Cells:
    """Rows by cell.

    Parameters
    ----------
    cell
        (n,) cell of each row.
    rows
        (n,) rows, cell by cell.
    start
        (m + 1,) where each cell starts in ``rows``.
    centre
        (m, d) float32 centre of each cell.
    near
        (m, m) all cells by decreasing similarity to each cell, itself first.
    """

    cell: Tensor
    rows: Tensor
    start: Tensor
    centre: Tensor
    near: Tensor

    @classmethod
    def of(cls, fast: Tensor | UnitRows) -> Cells:
        """Return the cells of unit rows ``fast`` (n, d) float32; the same for any number of threads."""
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        m = max(1, int(2 * len(fast) ** 0.5))
        size = {"min_points_per_centroid": 1, "max_points_per_centroid": EACH}
        means = faiss.Kmeans(fast.shape[1], m, niter=4, seed=0, spherical=True, **size)
        some = fast if isinstance(fast, Tensor) else fast[_drawn(len(fast), EACH * m, seed=2)]
        means.train(some.numpy())
        parts = [means.index.search(part.numpy(), 1)[1] for part in _parts(fast)]
        cell = torch.from_numpy(np.concatenate(parts)).squeeze(1)
        start = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(cell, minlength=m).cumsum(0)])
        centre = torch.from_numpy(means.centroids)
        nearness = (centre @ centre.T).fill_diagonal_(2.0)  # more than any cosine
        near = nearness.argsort(dim=1, descending=True, stable=True)
        return cls(cell, cell.argsort(stable=True), start, centre, near)

    def members(self, cell: int) -> Tensor:
        """Return the rows of a cell."""
        return self.rows[self.start[cell] : self.start[cell + 1]]

    def about(self, cell: int, count: int, least: int) -> Tensor:
        """Return the rows of the ``count`` cells nearest to ``cell``; of more to have ``least`` rows."""
        near = self.near[cell]
        held = (self.start[near + 1] - self.start[near]).cumsum(0)
        count = max(count, 1 + int(torch.searchsorted(held, least)))
        return torch.cat([self.members(c) for c in near[:count].tolist()])

    def reach(self, fast: Tensor | UnitRows, rows: Tensor, neighbours: Tensor) -> Reach:
        """Return how many cells contain `RECALL` of the ``neighbours`` (r, k) of ``rows`` (r,)."""
        near, mine = self.near[self.cell[rows]], self.cell[rows]
        place = self.near.argsort(dim=1)[mine[:, None], self.cell[neighbours]]
        within = _quantile(place, WITHIN)
        similarity = (fast[rows] @ self.centre.T).gather(1, near[:, :within])
        own = similarity.argsort(dim=1, descending=True).argsort(dim=1)
        asked = own.gather(1, place.clamp_max(within - 1)).masked_fill(place >= within, len(self.near))
        return Reach(within, _quantile(asked, RECALL))

    def nearest_to(self, fast: Tensor | UnitRows, cell: int, reach: Reach) -> Tensor:
        """Return (r, ``reach.asked``) the cells nearest to each row of a cell, by decreasing similarity.

        In int16, which is sorted in a third of the time and numbers the cells of 268 million rows.
        """
        among = self.near[cell][: reach.within]
        similarity = fast[self.members(cell)] @ self.centre[among].T
        return among.short()[similarity.topk(min(reach.asked, reach.within), dim=1).indices]


@dataclass(frozen=True)
class Reach:
    """A row asks the ``asked`` cells nearest to it, of the ``within`` nearest to its cell."""

    within: int
    asked: int


def _quantile(place: Tensor, share: float) -> int:
    """Return the least number of places that contain this share of ``place``."""
    return 1 + int(place.reshape(-1).kthvalue(max(1, int(share * place.numel()))).values)


@dataclass(frozen=True)
class Found:
    """Rows ``item`` that were found near row number ``which``, with similarity ``value``; all (P,)."""

    which: Tensor
    item: Tensor
    value: Tensor

    @classmethod
    def together(cls, parts: Sequence[Found]) -> Found:
        """Return all of them."""
        return cls(*(torch.cat(x) for x in zip(*((p.which, p.item, p.value) for p in parts), strict=True)))

    def lowest(self, count: int, rows: int) -> Tensor:
        """Return (rows, 1) what is more similar than the ``count`` best of each row so far; −inf if fewer."""
        return kth(self.value, self.which, count, rows)

    def best(self, count: int, rows: int) -> tuple[Tensor, Tensor]:
        """Return (rows, count) the most similar of each row, and whether (rows,) there were that many."""
        order = (4.0 * self.which - self.value.double()).argsort()
        number = torch.bincount(self.which, minlength=rows)
        first = number.cumsum(0) - number
        place = (first[:, None] + torch.arange(count)).clamp_max_(len(order) - 1)
        return self.item[order[place]], number >= count


def neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """Return the ``k`` nearest rows of each row of ``x`` (n, d): by `indexed` if many, else by `nearest`.

    ``approximate_from``: number of rows from which an index is used; 0: never.
    """
    return indexed(x, k) if 0 < approximate_from <= len(x) else nearest(x, k)


def cached_neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """Return `neighbours`, cached on disk by the hash of the search, ``x`` and ``k``."""
    how = "cells near a row" if 0 < approximate_from <= len(x) else "nearest on a grid"
    key = fingerprint(how, x.cpu().numpy(), k)

    def make() -> np.ndarray:
        found = neighbours(x, k, approximate_from)
        return np.stack([found.index.cpu().numpy().astype(np.float64), found.value.cpu().numpy()])

    index, value = torch.from_numpy(np.array(cached_array("neighbours", key, make))).to(x.device)
    return Neighbours(index.long(), value.clone())  # a view would hold both


@torch.no_grad()
def indexed(x: Tensor, k: int) -> Neighbours:
    """Return the ``k`` nearest rows of each row of ``x`` (n, d) by cosine, with recall of at least 0.99.

    The same for any number of threads, on any device. Raises DataError for fewer than ``k`` rows.
    """
    if len(x) <= k:
        return nearest(x, k)
    device, x = x.device, x.cpu()
    fast, asked = _unit(x), _drawn(len(x), SAMPLE, seed=0)
    cells = Cells.of(fast)
    reach = cells.reach(fast, asked, _exact(x, fast, asked, k).index)
    if reach.asked * MOST > len(cells.near):
        n, m = len(x), len(cells.near)
        say(
            f"the features of {n:,} items form no clusters (an index would search {reach.asked} of {m} "
            "cells): neighbours are searched exactly, in time quadratic in the items"
        )
        found = nearest(x, k)
        return Neighbours(found.index.to(device), found.value.to(device))
    candidates = _candidates(cells, fast, reach, min(k + SPARE, len(x)))
    index, value = torch.empty(len(x), k, dtype=torch.long), torch.empty(len(x), k, dtype=torch.float64)
    for rows in cells.rows.split(BLOCK):  # rows of a cell share candidates
        some = candidates[rows].sort(dim=1).values
        index[rows], value[rows] = order(some, _cosines(x, rows, some), k)
    zero = value[:, 0] == 0
    index[zero], value[zero] = torch.arange(k), 0.0  # a zero row ties with everything at 0, as in `knn`
    return Neighbours(index.to(device), value.to(device))


@torch.no_grad()
def listed(x: Tensor, index: Tensor) -> Neighbours:
    """Return the neighbours ``index`` (n, k) of ``x`` (n, d), nearest first, with their cosines."""
    device, x, index = x.device, x.cpu(), index.cpu().long().sort(dim=1).values
    parts = [
        order(some, _cosines(x, rows, some), index.shape[1])
        for rows, some in zip(torch.arange(len(x)).split(BLOCK), index.split(BLOCK), strict=True)
    ]
    found, value = (torch.cat(part) for part in zip(*parts, strict=True))
    return Neighbours(found.to(device), value.to(device))


def _unit(x: Tensor) -> Tensor | UnitRows:
    """Return rows of length 1, float32; float16 rows, which are mapped, are scaled on access."""
    return UnitRows(x) if x.dtype == torch.float16 else F.normalize(x.float(), dim=1)


def _parts(fast: Tensor | UnitRows) -> Iterator[Tensor]:
    """Yield all rows: at once, or in parts if they are mapped."""
    if isinstance(fast, Tensor):
        yield fast
        return
    for start in range(0, len(fast), ROWS):
        yield fast[slice(start, start + ROWS)]


def _candidates(cells: Cells, fast: Tensor | UnitRows, reach: Reach, count: int) -> Tensor:
    """Return (n, count) the rows most similar to each row, among those of the cells that it asks.

    Rows that ask nearly all of the cells near their own cell ask all of them, in one product for each cell.
    """
    out = torch.empty(len(fast), count, dtype=torch.long)
    if reach.within <= TOGETHER * reach.asked:
        for cell in range(len(cells.near)):
            rows, others = cells.members(cell), cells.about(cell, reach.within, count)
            columns = fast[others].T
            for some in rows.split(max(1, BLOCK_BYTES // (4 * len(others)))):
                out[some] = others[largest(fast[some] @ columns, count)[1]]
        return out
    most = max(1, min(ASKED // reach.asked, NUMBERS // fast.shape[1]))
    last = torch.searchsorted(cells.start, torch.arange(most, len(fast) + most, most)).unique()
    first = 0
    for stop in last.clamp_max(len(cells.near)).unique().tolist():
        rows = cells.rows[cells.start[first] : cells.start[stop]]
        asked = torch.cat([cells.nearest_to(fast, cell, reach) for cell in range(first, stop)])
        out[rows] = _of_cells(cells, fast, rows, asked, count)
        first = stop
    return out


def _of_cells(cells: Cells, fast: Tensor | UnitRows, rows: Tensor, asked: Tensor, count: int) -> Tensor:
    """Return (r, count) the rows most similar to ``rows`` (r,) among those of the cells ``asked`` (r, p).

    Of all rows, for those whose cells have fewer.
    """
    mine, bar, found = fast[rows], torch.full((len(rows), 1), -torch.inf), list[Found]()
    for cells_of in asked.tensor_split([1, 1 + asked.shape[1] // FIRST], dim=1):
        found = [Found.together([*found, *_asking(cells, fast, mine, cells_of, bar, count)])]
        bar = found[0].lowest(count, len(rows))
    best, enough = found[0].best(count, len(rows))
    for few in (~enough).nonzero().squeeze(1).split(max(1, BLOCK_BYTES // (4 * len(fast)))):
        similarity = torch.cat([mine[few] @ part.T for part in _parts(fast)], dim=1)
        best[few] = similarity.topk(count, dim=1).indices
    return best


def _asking(
    cells: Cells, fast: Tensor | UnitRows, mine: Tensor, asked: Tensor, bar: Tensor, count: int
) -> Iterator[Found]:
    """Yield what ``mine`` (r, d) find above ``bar`` (r, 1) in the cells ``asked`` (r, p).

    At most ``count`` of each cell for each row, on average.
    """
    p, order = asked.shape[1], asked.reshape(-1).argsort(stable=True)
    who = torch.div(order, max(1, p), rounding_mode="floor")
    stop = torch.bincount(asked.reshape(-1), minlength=len(cells.near)).cumsum(0).tolist()
    for cell, (first, last) in enumerate(zip([0, *stop], stop, strict=False)):
        members = cells.members(cell)
        if first == last or not len(members):
            continue
        columns = fast[members].T
        for some in who[first:last].split(max(1, PRODUCT // len(members))):
            similarity, least = mine.index_select(0, some) @ columns, bar[some]
            at = true_at(above(similarity, least)) if least.isfinite().all() else None
            if at is None or len(at) > count * len(some):  # all, or as many as tie
                top = similarity.topk(min(count, len(members)), dim=1)
                which = some[:, None].expand_as(top.indices).reshape(-1)
                yield Found(which, members[top.indices.reshape(-1)], top.values.reshape(-1))
            else:
                asker = torch.div(at, len(members), rounding_mode="floor")
                yield Found(some[asker], members[at - asker * len(members)], similarity.view(-1)[at])


@torch.no_grad()
def recall(x: Tensor, found: Neighbours) -> float:
    """Return the share of true neighbours in ``found``, on a sample of other rows than `indexed` uses.

    A neighbour as similar as the last true one counts as true, since equal rows are interchangeable.
    """
    x, rows = x.cpu(), _drawn(len(x), SAMPLE, seed=1)
    known = _exact(x, _unit(x), rows, found.index.shape[1])
    return float((found.value.cpu()[rows] >= known.value[:, -1:]).double().mean())


def _drawn(n: int, count: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count]


def _exact(x: Tensor, fast: Tensor | UnitRows, rows: Tensor, k: int) -> Neighbours:
    """Return the exact neighbours of ``rows`` (r,)."""
    parts = []
    for some in rows.split(max(1, BLOCK_BYTES // (4 * len(x)))):
        similarity = [fast[some] @ part.T for part in _parts(fast)]
        parts.append(select(torch.cat(similarity, dim=1), partial(_cosines_of, x, some), k))
    return Neighbours(torch.cat([i for i, _ in parts]), torch.cat([v for _, v in parts]))


def _cosines_of(x: Tensor, rows: Tensor, some: Tensor, candidates: Tensor) -> Tensor:
    return _cosines(x, rows[some], candidates)


def _cosines(x: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    """Return exact cosines (r, c) of ``rows`` (r,) with their ``candidates`` (r, c), also rows of ``x``."""
    every, place = torch.cat([rows[:, None], candidates], dim=1).unique(return_inverse=True)
    unit = directions(x[every])
    return candidate_cosines(unit[place[:, 0]], unit, place[:, 1:])
