"""Exact k nearest neighbours by cosine, in blocks, with ties decided by the lowest index.

The N×N similarity matrix is never held: memory is O(block·N). Which neighbours are chosen does
not depend on the block, the number of threads, the device or the other rows, so that an increment
and a rebuild agree: candidates come from a float32 product, the decision from the float64 cosines
of rows on a grid (`directions`), which are exact in whatever order they are summed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rankers.sparse_rows import largest, products
from recsim_gen.core.errors import DataError

MARGIN = 1e-5  # above the error of a float32 cosine, below any difference that matters
GRID = 2.0**26  # of the features: products of two multiples of 1/GRID are multiples of float64's 2⁻⁵²
SPARE = 4  # extra candidates that make a second look rare
MORE = 8  # times as many extra candidates at each further look
HELD = 1 << 20  # candidates looked at at a time where many tie
BLOCK_BYTES = 64 << 20

Cosine = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of every row: ``index`` (n, k) int64 and ``value`` (n, k) float64.

    Sorted by falling cosine, then rising index; the row itself is included.
    """

    index: Tensor
    value: Tensor

    def first(self, k: int) -> Neighbours:
        """The k nearest alone."""
        return Neighbours(self.index[:, :k], self.value[:, :k])


def unit(x: Tensor) -> Tensor:
    """Rows scaled to length 1 in float64; a zero row stays zero (cosine 0 with everything)."""
    x = x.double()
    norm = x.norm(dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))


def directions(x: Tensor) -> Tensor:
    """Unit rows rounded to multiples of 1/GRID, float64: cosines of such rows are exact.

    A sum of their products is a multiple of 2⁻⁵² that stays below 2: float64 holds it, and every
    partial sum, without rounding. Equal rows therefore tie, in any batch and on any device.
    """
    return unit(x).mul_(GRID).round_().div_(GRID)


def pair_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d a·b of unit rows, float64."""
    return (a * b).sum(-1)


def candidate_cosines(a: Tensor, b: Tensor, candidates: Tensor) -> Tensor:
    """Cosines (r, c) of the rows of ``a`` (r, d) with their ``candidates`` (r, c), rows of ``b`` (n, d)."""
    rows, each = candidates.shape
    start = torch.arange(0, rows * each + 1, each, device=candidates.device)
    return products(a, b, start, candidates.reshape(-1)).view(rows, each)


@torch.no_grad()
def nearest(x: Tensor, k: int) -> Neighbours:
    """The ``k`` nearest rows of each row of ``x`` (n, d) by cosine, itself included; no gradient.

    Raises DataError when there are fewer than ``k`` rows.
    """
    if len(x) < k:
        raise DataError(f"k nearest neighbours need at least k = {k} items, got {len(x)}")
    exact = directions(x)
    fast = exact.float()
    block = max(1, min(len(x), BLOCK_BYTES // (4 * len(x))))
    held = fast.new_empty(block, len(x))  # once: memory that is new takes longer than the product
    parts = [_block(exact, fast, slice(s, s + block), k, held) for s in range(0, len(x), block)]
    return Neighbours(torch.cat([i for i, _ in parts]), torch.cat([v for _, v in parts]))


def _block(exact: Tensor, fast: Tensor, rows: slice, k: int, held: Tensor) -> tuple[Tensor, Tensor]:
    mine = exact[rows]
    similarity = torch.mm(fast[rows], fast.T, out=held[: len(mine)])
    return select(similarity, lambda r, c: candidate_cosines(mine[r], exact, c), k)


def select(similarity: Tensor, cosine: Cosine, k: int, spare: int = SPARE) -> tuple[Tensor, Tensor]:
    """The exact first ``k`` of each row of float32 similarities (b, n): index and value (b, k).

    ``cosine`` gives the float64 similarities that decide: of rows (r,) with candidates (r, c). Rows with
    more near-ties than ``spare`` places are looked at again, with more of them.
    """
    rows, n = torch.arange(len(similarity), device=similarity.device), similarity.shape[1]
    wide = min(k + spare, n)
    top, candidates = largest(similarity, wide)
    candidates = candidates.sort(dim=1).values
    index, value = order(candidates, cosine(rows, candidates), k)
    if wide == n:
        return index, value
    crowded = top[:, k - 1] - top[:, -1] <= 2 * MARGIN
    zero = top[:, 0] == 0  # a zero row ties with everything at 0, itself included
    index[zero], value[zero] = torch.arange(k, device=index.device), 0.0
    wider, crowd = MORE * spare, (crowded & ~zero).nonzero().squeeze(1)
    each = max(1, HELD // (k + wider))
    for start in range(0, len(crowd), each):
        again = crowd[start : start + each]
        some = partial(_of_rows, cosine, again)
        index[again], value[again] = select(similarity.index_select(0, again), some, k, wider)
    return index, value


def _of_rows(cosine: Cosine, rows: Tensor, r: Tensor, candidates: Tensor) -> Tensor:
    return cosine(rows[r], candidates)


def order(candidates: Tensor, cosine: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """First ``k`` by falling cosine; ``candidates`` rise along the row, so ties go to the lowest."""
    value, place = cosine.sort(dim=1, descending=True, stable=True)
    return candidates.gather(1, place[:, :k]), value[:, :k]
