"""Nearest neighbours in large tables: candidates from nearby cells, selected by exact cosines.

k-means puts the rows into about 2·√n cells, as in an inverted file (Sivic & Zisserman, ICCV 2003). A row is
compared with the rows of the cells whose centres are nearest to it. How many it asks is measured on a sample
of rows whose neighbours are known; if it is more than half of all cells, the exact search is as fast and is
used instead. Neighbours and their order are decided by the float64 cosines of `knn`.
"""

from __future__ import annotations

import ctypes
import sys
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rankers.item_graphs.cell_search import candidates, similar
from rankers.item_graphs.knn import (
    EVERY,
    SPARE,
    Neighbours,
    candidate_cosines,
    directions,
    nearest,
    order,
    select,
)
from rankers.item_graphs.mapped_rows import ROWS, UnitRows
from rankers.item_graphs.partition import Cells, drawn
from recsim_gen.core.progress import say
from recsim_gen.core.store import cached_array, fingerprint

SAMPLE = 512  # rows whose exact neighbours are computed: a thousandth of an exact search of 500,000
MOST = 2  # a row asks at most 1/MOST of the cells
BLOCK = 4096  # rows decided at a time


def neighbours(x: Tensor, k: int, approximate_from: int, rows: slice = EVERY) -> Neighbours:
    """Return the ``k`` nearest rows of some ``rows`` of ``x`` (n, d), by `indexed` or by `nearest`.

    ``approximate_from``: number of rows of ``x`` from which an index is used; 0: never.
    """
    return (indexed if 0 < approximate_from <= len(x) else nearest)(x, k, rows)


def cached_neighbours(x: Tensor, k: int, approximate_from: int) -> Neighbours:
    """Return `neighbours`, cached on disk by the hash of the search, ``x`` and ``k``."""
    how = "candidates of cells near a row" if 0 < approximate_from <= len(x) else "nearest on a grid"
    key = fingerprint(how, x.cpu().numpy(), k)

    def make() -> np.ndarray:
        found = neighbours(x, k, approximate_from)
        return np.stack([found.index.cpu().numpy().astype(np.float64), found.value.cpu().numpy()])

    index, value = torch.from_numpy(np.array(cached_array("neighbours", key, make))).to(x.device)
    return Neighbours(index.long(), value.clone())  # a view would hold both


@torch.no_grad()
def indexed(x: Tensor, k: int, rows: slice = EVERY) -> Neighbours:
    """Return the ``k`` nearest rows of each of some ``rows`` of ``x`` (n, d), with recall of at least 0.99.

    The same for any number of threads, on any device. Raises DataError if ``x`` has fewer than ``k`` rows.
    """
    if len(x) <= k:
        return nearest(x, k, rows)
    device, x = x.device, x.cpu()
    unit = UnitRows(x)
    cells = Cells.of(unit)
    fast, asked = unit.in_order(cells.rows), drawn(len(x), SAMPLE, seed=0)
    reach = cells.reach(fast, asked, similar(fast, fast[asked], k))
    if reach.asked * MOST > len(cells.near):
        n, m = len(x), len(cells.near)
        say(
            f"the features of {n:,} items form no clusters (an index would search {reach.asked} of {m} "
            "cells): neighbours are searched exactly, in time quadratic in the items"
        )
        found = nearest(x, k, rows)
        return Neighbours(found.index.to(device), found.value.to(device))
    first, stop, _ = rows.indices(len(x))
    mine = (cells.rows >= first) & (cells.rows < stop)
    near = candidates(cells, fast, reach, min(k + SPARE, len(x)), mine)
    index, value = torch.empty(len(near), k, dtype=torch.long), torch.empty(len(near), k, dtype=torch.float64)
    for those, places in zip(cells.rows[mine].split(BLOCK), near.split(BLOCK), strict=True):
        some = cells.rows[places.long()].sort(dim=1).values  # shared by these rows, which are near each other
        index[those - first], value[those - first] = order(some, _cosines(x, those, some), k)
    zero = value[:, 0] == 0
    index[zero], value[zero] = torch.arange(k), 0.0  # a zero row ties with everything at 0, as in `knn`
    del near, fast
    _give_back()
    return Neighbours(index.to(device), value.to(device))


def _give_back() -> None:
    """Return free memory to the system, of which glibc keeps hundreds of megabytes between small arrays."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


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


@torch.no_grad()
def recall(x: Tensor, found: Neighbours) -> float:
    """Return the share of true neighbours in ``found``, on a sample of other rows than `indexed` uses.

    A neighbour as similar as the last true one counts as true, since equal rows are interchangeable.
    """
    x, rows = x.cpu(), drawn(len(x), SAMPLE, seed=1)
    last = _exact(x, rows, found.index.shape[1])[:, -1:]
    return float((found.value.cpu()[rows] >= last).double().mean())


def _exact(x: Tensor, rows: Tensor, k: int) -> Tensor:
    """Return (r, k) the cosines of ``rows`` (r,) with their exact neighbours, found in each part of ``x``."""
    unit, parts, first = UnitRows(x), list[Tensor](), 0
    mine = unit[rows]
    for part in unit.split(ROWS):
        few = min(k, len(part))
        parts.append(select(mine @ part.T, partial(_cosines_of, x, rows, first), few)[1])
        first += len(part)
    return torch.cat(parts, dim=1).topk(k, dim=1).values


def _cosines_of(x: Tensor, rows: Tensor, first: int, some: Tensor, candidates: Tensor) -> Tensor:
    return _cosines(x, rows[some], candidates + first)


def _cosines(x: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    """Return exact cosines (r, c) of ``rows`` (r,) with their ``candidates`` (r, c), also rows of ``x``."""
    every, place = torch.cat([rows[:, None], candidates], dim=1).unique(return_inverse=True)
    unit = directions(x[every])
    return candidate_cosines(unit[place[:, 0]], unit, place[:, 1:])
