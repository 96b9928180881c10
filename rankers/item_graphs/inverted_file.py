"""Nearest neighbours of a large table: candidates from an inverted file of faiss, decided exactly.

Rows are put into about 2·√n cells by k-means, and a row's neighbours are looked for in the ``probes`` cells
nearest to it (Sivic & Zisserman, ICCV 2003). How many that must be is found on a sample of rows whose exact
neighbours are known; where it is more than an eighth of the cells, the exact search is as quick and is done.
Which candidates are neighbours, and in what order, is decided by the float64 cosines of `knn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
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
from recsim_gen.core.store import cached_array, fingerprint

RECALL = 0.995  # on the sample: what holds there to 0.005 is 0.99 of all
SAMPLE = 512  # rows whose exact neighbours are found: a thousandth of an exact search of 500,000
MOST = 8  # an eighth of the cells at most
BLOCK = 4096  # rows looked up at a time


def neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """The ``k`` nearest rows of each row of ``x`` (n, d): `knn.nearest`, or `indexed` of large tables.

    ``approximate_from``: rows from which a table is large; 0: none is.
    """
    return indexed(x, k) if 0 < approximate_from <= len(x) else nearest(x, k)


def cached_neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """``neighbours``, kept on disk under the hash of ``x`` and ``k`` (never of ``k`` alone)."""
    how = "index" if 0 < approximate_from <= len(x) else "nearest on a grid"
    key = fingerprint(how, x.cpu().numpy(), k)

    def make() -> np.ndarray:
        found = neighbours(x, k, approximate_from)
        return np.stack([found.index.cpu().numpy().astype(np.float64), found.value.cpu().numpy()])

    index, value = torch.from_numpy(np.array(cached_array("neighbours", key, make))).to(x.device)
    return Neighbours(index.long(), value)


@torch.no_grad()
def indexed(x: Tensor, k: int) -> Neighbours:
    """Nearly the ``k`` nearest rows of each row of ``x`` (n, d) by cosine: at least 0.99 of them.

    The same for any number of threads, on any device. Raises DataError for fewer than ``k`` rows.
    """
    if len(x) <= k:
        return nearest(x, k)
    device, x = x.device, x.cpu()
    fast = torch.cat([directions(x[rows]).float() for rows in torch.arange(len(x)).split(BLOCK)])
    asked = _sample(len(x), seed=0)
    known = _exact(x, fast, asked, k)
    cells = _cells(fast)
    while True:
        found = _looked_up(cells, x, fast, asked, k)
        if _share(found, known) >= RECALL:
            break
        cells.nprobe *= 2
        if cells.nprobe * MOST > cells.nlist:
            found = nearest(x, k)
            return Neighbours(found.index.to(device), found.value.to(device))
    index, value = torch.empty(len(x), k, dtype=torch.long), torch.empty(len(x), k, dtype=torch.float64)
    for rows in _by_cell(cells):
        part = _looked_up(cells, x, fast, rows, k)
        index[rows], value[rows] = part.index, part.value
    return Neighbours(index.to(device), value.to(device))


@torch.no_grad()
def recall(x: Tensor, found: Neighbours) -> float:
    """Share of the true neighbours among those ``found``, of a sample of other rows than `indexed` asks.

    A neighbour as near as the last true one is true: which of equal rows is taken does not count.
    """
    x, rows = x.cpu(), _sample(len(x), seed=1)
    fast = torch.cat([directions(x[part]).float() for part in torch.arange(len(x)).split(BLOCK)])
    known = _exact(x, fast, rows, found.index.shape[1])
    return _share(Neighbours(found.index.cpu()[rows], found.value.cpu()[rows]), known)


def _share(found: Neighbours, known: Neighbours) -> float:
    return float((found.value >= known.value[:, -1:]).double().mean())


def _sample(n: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:SAMPLE]


def _cells(fast: Tensor) -> Any:
    """The inverted file of unit rows ``fast`` (n, d), looked up in one cell to begin with."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    n, d = fast.shape
    count = max(1, int(2 * n**0.5))
    cells = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, count, faiss.METRIC_INNER_PRODUCT)
    cells.cp.niter, cells.cp.seed = 4, 0  # cells need not be the best: probes make up for it
    cells.cp.min_points_per_centroid, cells.cp.max_points_per_centroid = 1, 40
    cells.train(fast.numpy())
    cells.add(fast.numpy())
    return cells


def _by_cell(cells: Any) -> Iterator[Tensor]:
    """All rows in blocks, cell by cell: rows that are looked up together read the same cells."""
    import faiss

    lists, numbers = cells.invlists, range(cells.nlist)
    rows = [faiss.rev_swig_ptr(lists.get_ids(c), lists.list_size(c)) for c in numbers if lists.list_size(c)]
    yield from torch.from_numpy(np.concatenate(rows)).split(BLOCK)


def _looked_up(cells: Any, x: Tensor, fast: Tensor, rows: Tensor, k: int) -> Neighbours:
    """Neighbours of ``rows`` (r,) among those of the cells nearest to each."""
    candidates = torch.from_numpy(cells.search(fast[rows].numpy(), min(k + SPARE, len(x)))[1])
    candidates = candidates.sort(dim=1).values
    known = candidates[:, 0] >= 0  # −1 where the cells hold fewer rows than were asked for
    index, value = candidates[:, :k].clone(), torch.zeros(len(rows), k, dtype=torch.float64)
    mine = directions(x[rows])
    index[known], value[known] = order(candidates[known], _cosines(mine[known], x, candidates[known]), k)
    zero = mine.count_nonzero(1) == 0  # ties with everything at 0, as in `knn`
    index[zero], value[zero] = torch.arange(k), 0.0
    few = ~known & ~zero
    if few.any():
        exact = _exact(x, fast, rows[few], k)
        index[few], value[few] = exact.index, exact.value
    return Neighbours(index, value)


def _exact(x: Tensor, fast: Tensor, rows: Tensor, k: int) -> Neighbours:
    """The exact neighbours of ``rows`` (r,)."""
    parts = []
    for some in rows.split(max(1, BLOCK_BYTES // (4 * len(x)))):
        cosine = partial(_cosines_of, directions(x[some]), x)
        parts.append(select(fast[some] @ fast.T, cosine, k))
    return Neighbours(torch.cat([i for i, _ in parts]), torch.cat([v for _, v in parts]))


def _cosines_of(mine: Tensor, x: Tensor, some: Tensor, candidates: Tensor) -> Tensor:
    return _cosines(mine[some], x, candidates)


def _cosines(mine: Tensor, x: Tensor, candidates: Tensor) -> Tensor:
    """Exact cosines (r, c) of `directions` ``mine`` (r, d) with ``candidates`` (r, c), rows of ``x``."""
    rows, place = candidates.unique(return_inverse=True)
    return candidate_cosines(mine, directions(x[rows]), place)
