"""Exact k nearest neighbours by cosine, in blocks; ties go to the lowest index.

The N×N similarity matrix is never stored: memory is O(block·N). The neighbours do not depend on the block,
the number of threads, the device or the other rows, so that an increment and a rebuild agree: candidates come
from a float32 product, the decision from the float64 cosines of rows on a grid (`directions`), which are
exact in any order of summation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rankers.sparse_rows import Ragged, largest, products
from recsim_gen.core.errors import DataError

MARGIN = 1e-5  # above the error of a float32 cosine, below any relevant difference
GRID = 2.0**26  # of the features: products of two multiples of 1/GRID are multiples of 2⁻⁵², as in float64
SPARE = 4  # extra candidates, which make a second search rare
MORE = 8  # factor of the extra candidates in each further search
HELD = 1 << 20  # candidates in memory at a time if many tie
ROUNDING = 1.5 * 2.0**52 / GRID  # a float64 of this size has no digit below 1/GRID
BLOCK_BYTES = 64 << 20
CACHED = 1 << 20  # bytes of a table that stays in the processor's cache
PARTS = 1 << 14  # rows of `Directions` in float64 at a time
EVERY = slice(None)

Cosine = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of every row: ``index`` (n, k) int64, int32 if kept, and ``value`` (n, k) float64.

    Sorted by decreasing cosine, then increasing index; the row itself is included.
    """

    index: Tensor
    value: Tensor

    def first(self, k: int) -> Neighbours:
        """Return the k nearest only."""
        return Neighbours(self.index[:, :k], self.value[:, :k])

    def to(self, dtype: torch.dtype) -> Neighbours:
        """Return the same with an index of int32 or int64."""
        return Neighbours(self.index.to(dtype), self.value)


def unit(x: Tensor) -> Tensor:
    """Return rows scaled to length 1 in float64; a zero row stays zero (cosine 0 with all rows)."""
    x = x.double()
    norm = x.norm(dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))


@torch.no_grad()
def directions(x: Tensor) -> Tensor:
    """Return unit rows rounded to multiples of 1/GRID, float64: cosines of such rows are exact.

    A sum of their products is a multiple of 2⁻⁵² below 2: float64 represents it, and every partial sum,
    without rounding. Equal rows therefore tie, in any batch and on any device.
    """
    out = torch.empty(x.shape, dtype=torch.float64, device=x.device)
    each = max(1, CACHED // (8 * max(1, x.shape[1])))
    for part, to in zip(x.split(each), out.split(each), strict=True):
        torch.sub(unit(part).add_(ROUNDING), ROUNDING, out=to)
    return out


@dataclass(frozen=True)
class Directions:
    """`directions` of n rows in half their memory: ``steps`` (n, d) int32, in units of 1/GRID."""

    steps: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, x: Tensor) -> Directions:
        """Return those of ``x`` (n, d)."""
        steps = torch.empty(x.shape, dtype=torch.int32, device=x.device)
        for part, to in zip(x.split(PARTS), steps.split(PARTS), strict=True):
            to.copy_(directions(part).mul_(GRID))
        return cls(steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Return some rows, float64, without rounding."""
        some = self.steps.index_select(0, rows) if isinstance(rows, Tensor) else self.steps[rows]
        return some.double().mul_(1 / GRID)

    def cosines(self, new: Tensor, found: Ragged) -> Tensor:
        """Return the cosine of each of ``new`` (B, d) with each of its rows in ``found``, exact."""
        out = new.new_empty(len(found.item))
        for start in range(0, len(out), PARTS):
            some = found.item[start : start + PARTS]
            bounds = (found.start - start).clamp(0, len(some))
            everyone = torch.arange(len(some), device=some.device)
            out[start : start + PARTS] = products(new, self[some], bounds, everyone)
        return out

    def replaced(self, item: Tensor, new: Tensor) -> Directions:
        """Return a copy with the directions ``new`` (B, d) at ``item`` (B,)."""
        return Directions(self.steps.index_copy(0, item, new.mul(GRID).int()))


def pair_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return Σ_d a·b of unit rows, float64."""
    return (a * b).sum(-1)


def candidate_cosines(a: Tensor, b: Tensor, candidates: Tensor) -> Tensor:
    """Return (r, c) cosines of rows of ``a`` (r, d) with ``candidates`` (r, c), rows of ``b`` (n, d)."""
    rows, each = candidates.shape
    start = torch.arange(0, rows * each + 1, each, device=candidates.device)
    return products(a, b, start, candidates.reshape(-1)).view(rows, each)


@torch.no_grad()
def nearest(x: Tensor, k: int, rows: slice = EVERY) -> Neighbours:
    """Return the ``k`` nearest rows of each of some ``rows`` of ``x`` (n, d) by cosine, itself included.

    Without a gradient. Raises DataError if there are fewer than ``k`` rows.
    """
    if len(x) < k:
        raise DataError(f"k nearest neighbours need at least k = {k} items, got {len(x)}")
    exact = directions(x)
    fast = exact.float()
    block = max(1, min(len(x), BLOCK_BYTES // (4 * len(x))))
    held = fast.new_empty(block, len(x))  # allocated once: an allocation takes longer than the product
    first, stop, _ = rows.indices(len(x))
    starts = range(first, stop, block) or [first]  # of no rows, one block without any
    parts = [_block(exact, fast, slice(s, min(s + block, stop)), k, held) for s in starts]
    return Neighbours(torch.cat([i for i, _ in parts]), torch.cat([v for _, v in parts]))


def _block(exact: Tensor, fast: Tensor, rows: slice, k: int, held: Tensor) -> tuple[Tensor, Tensor]:
    mine = exact[rows]
    similarity = torch.mm(fast[rows], fast.T, out=held[: len(mine)])
    return select(similarity, lambda r, c: candidate_cosines(mine[r], exact, c), k)


def select(similarity: Tensor, cosine: Cosine, k: int, spare: int = SPARE) -> tuple[Tensor, Tensor]:
    """Return index and value (b, k) of the exact first ``k`` in rows of float32 similarities (b, n).

    ``cosine`` returns the float64 similarities that decide: of rows (r,) with candidates (r, c). Rows with
    more near-ties than ``spare`` are searched again with more candidates.
    """
    rows, n = torch.arange(len(similarity), device=similarity.device), similarity.shape[1]
    wide = min(k + spare, n)
    top, candidates = largest(similarity, wide)
    candidates = candidates.sort(dim=1).values
    index, value = order(candidates, cosine(rows, candidates), k)
    if wide == n:
        return index, value
    crowded = top[:, k - 1] - top[:, -1] <= 2 * MARGIN
    zero = top[:, 0] == 0  # a zero row ties with all rows at 0, including itself
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
    """Return the first ``k`` by decreasing cosine; ties go to the lowest index.

    ``candidates`` must increase along each row.
    """
    value, place = cosine.sort(dim=1, descending=True, stable=True)
    return candidates.gather(1, place[:, :k]), value[:, :k]
