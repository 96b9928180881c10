"""Nearest neighbours in large tables: candidates from nearby cells, selected by exact cosines.

faiss puts the rows into about 2·√n cells (k-means), as in an inverted file (Sivic & Zisserman, ICCV 2003).
The rows of a cell are compared with those of the ``probes`` nearest cells in one product. The number of
probes is measured on a sample of rows whose exact neighbours are known; if it is more than half of all cells,
the exact search is as fast and is used instead. Neighbours and their order are decided by the float64 cosines
of `knn`.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from rankers.sparse_rows import largest
from recsim_gen.core.progress import say
from recsim_gen.core.store import cached_array, fingerprint

RECALL = 0.998  # on a sample; a target of 0.995 left 0.989 of all in one of four tables of 100,000 rows
SAMPLE = 512  # rows whose exact neighbours are computed: a thousandth of an exact search of 500,000
MOST = 2  # an index probes at most 1/MOST of the cells
BLOCK = 4096  # rows decided at a time
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
    near
        (m, m) all cells by decreasing similarity to each cell, itself first.
    """

    cell: Tensor
    rows: Tensor
    start: Tensor
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
        return cls(
            cell, cell.argsort(stable=True), start, nearness.argsort(dim=1, descending=True, stable=True)
        )

    def probes(self, rows: Tensor, neighbours: Tensor) -> int:
        """Return how many cells contain `RECALL` of the ``neighbours`` (r, k) of ``rows`` (r,)."""
        place = self.near.argsort(dim=1)[self.cell[rows][:, None], self.cell[neighbours]].reshape(-1)
        return 1 + int(place.kthvalue(max(1, int(RECALL * len(place)))).values)

    def about(self, cell: int, probes: int, least: int) -> Tensor:
        """Return the rows of the ``probes`` cells nearest to ``cell``; of more to have ``least`` rows."""
        near = self.near[cell]
        held = (self.start[near + 1] - self.start[near]).cumsum(0)
        count = max(probes, 1 + int(torch.searchsorted(held, least)))
        return torch.cat([self.rows[self.start[c] : self.start[c + 1]] for c in near[:count].tolist()])


def neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """Return the ``k`` nearest rows of each row of ``x`` (n, d): by `indexed` if many, else by `nearest`.

    ``approximate_from``: number of rows from which an index is used; 0: never.
    """
    return indexed(x, k) if 0 < approximate_from <= len(x) else nearest(x, k)


def cached_neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """Return `neighbours`, cached on disk by the hash of the search, ``x`` and ``k``."""
    how = "index" if 0 < approximate_from <= len(x) else "nearest on a grid"
    key = fingerprint(how, x.cpu().numpy(), k)

    def make() -> np.ndarray:
        found = neighbours(x, k, approximate_from)
        return np.stack([found.index.cpu().numpy().astype(np.float64), found.value.cpu().numpy()])

    index, value = torch.from_numpy(np.array(cached_array("neighbours", key, make))).to(x.device)
    return Neighbours(index.long(), value)


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
    probes = cells.probes(asked, _exact(x, fast, asked, k).index)
    if probes * MOST > len(cells.near):
        n, m = len(x), len(cells.near)
        say(
            f"the features of {n:,} items form no clusters (an index would search {probes} of {m} cells): "
            "neighbours are searched exactly, in time quadratic in the items"
        )
        found = nearest(x, k)
        return Neighbours(found.index.to(device), found.value.to(device))
    candidates = _candidates(cells, fast, probes, min(k + SPARE, len(x)))
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


def _candidates(cells: Cells, fast: Tensor | UnitRows, probes: int, count: int) -> Tensor:
    """Return (n, count) the rows most similar to each row, among those near its cell."""
    out = torch.empty(len(fast), count, dtype=torch.long)
    for cell in range(len(cells.near)):
        rows = cells.rows[cells.start[cell] : cells.start[cell + 1]]
        if not len(rows):
            continue
        others = cells.about(cell, probes, count)
        columns = fast[others].T
        for some in rows.split(max(1, BLOCK_BYTES // (4 * len(others)))):
            out[some] = others[largest(fast[some] @ columns, count)[1]]
    return out


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
