"""Changed rows of a table under each of many changes: a sparse batch of tables.

Also operations on sparse and on wide tables for which torch's own are slow or give warnings.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor

LARGE = 1 << 22  # numbers of a table from which work is done in parts: 65,536 rows of 64
UNCACHED = 1 << 18  # numbers of a table from which `product` asks for rows ahead
SLABS = 16  # parts that `largest` and `true_at` divide a row into


def is_large(*shape: int) -> bool:
    """Return whether work on a table of this shape is done in parts, or on the rows that it is needed for."""
    return math.prod(shape) >= LARGE


@dataclass(frozen=True)
class SparseRows:
    """New rows of an (n, d) table: ``key`` (M,) = change·n + row, increasing and distinct; ``row`` (M, d)."""

    key: Tensor
    row: Tensor


@dataclass(frozen=True)
class Ragged:
    """Concatenated lists of different lengths: list b is ``item[start[b]:start[b + 1]]``."""

    start: Tensor
    item: Tensor

    @classmethod
    def of(cls, key: Tensor, lists: int, n: int) -> Ragged:
        """Return the lists of an increasing ``key`` (M,) = list·n + item."""
        bounds = torch.arange(lists + 1, device=key.device) * n
        return cls(torch.searchsorted(key, bounds), key % n)

    @cached_property
    def which(self) -> Tensor:
        """(M,) number of each item's list."""
        return torch.repeat_interleave(self.start.diff())

    def take(self, lists: Tensor) -> Ragged:
        """Return the ``lists`` (B,), in this order."""
        start, stop = self.start.index_select(0, lists), self.start.index_select(0, lists + 1)
        length = torch.cat([start.new_zeros(1), (stop - start).cumsum(0)])
        return Ragged(length, self.item.index_select(0, expand(start, stop)[1]))


def none(base: Tensor) -> SparseRows:
    """Return no changed rows of ``base`` (n, d)."""
    return SparseRows(torch.zeros(0, dtype=torch.long, device=base.device), base[:0])


def union(keys: Sequence[Tensor]) -> Tensor:
    """Return the increasing distinct keys of all; those of a single one, which are so already, unchanged."""
    some = [key for key in keys if len(key)]
    return some[0] if len(some) == 1 else torch.unique_consecutive(ascending(torch.cat(list(keys))))


def distinct(rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the increasing distinct ``rows`` of a table of ``n``, and the place of each of ``rows`` in them.

    As ``rows.unique(return_inverse=True)``, without a sort.
    """
    there = torch.zeros(n, dtype=torch.bool, device=rows.device).index_fill_(0, rows, True)
    return positions(there), (there.cumsum(0) - 1).index_select(0, rows)


def ascending(x: Tensor) -> Tensor:
    """Return ``x`` (M,) sorted; on a CPU by numpy, which needs a tenth of the time of torch."""
    return x.sort().values if x.device.type != "cpu" else torch.from_numpy(np.sort(x.numpy()))


def ascending_order(key: Tensor) -> Tensor:
    """Return the positions (M,) of the sorted ``key`` (M,), integers from 0; equal ones in their order.

    Positions are written below the keys, since numpy sorts numbers faster than it returns their order.
    """
    bits = len(key).bit_length()
    return ascending((key << bits) + torch.arange(len(key), device=key.device)) & ((1 << bits) - 1)


def positions(mask: Tensor) -> Tensor:
    """Return where ``mask`` (M,) is true; on a CPU by numpy, five times as fast as torch."""
    if mask.device.type != "cpu":
        return mask.nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def above(x: Tensor, bar: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x > bar``; on a CPU by numpy, several times as fast as torch for boolean results."""
    return _compared(np.greater, torch.gt, x, bar, out)


def at_least(x: Tensor, bar: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x >= bar``, computed as in `above`."""
    return _compared(np.greater_equal, torch.ge, x, bar, out)


def _compared(
    fast: np.ufunc, other: Callable[..., Tensor], x: Tensor, bar: Tensor, out: Tensor | None
) -> Tensor:
    if x.device.type != "cpu":
        return other(x, bar, out=out)
    made = fast(x.detach().numpy(), bar.detach().numpy(), out=None if out is None else out.numpy())
    return torch.from_numpy(made) if out is None else out


def true_at(mask: Tensor) -> Tensor:
    """Return the increasing flat positions at which ``mask`` is true; fast if they are few."""
    flat = mask.reshape(-1)
    lacking = -len(flat) % (8 * SLABS)
    words = (F.pad(flat, (0, lacking)) if lacking else flat).view(torch.int64).view(SLABS, -1)
    place = positions(words.sum(0))  # bytes are 0 or 1, so their sums do not overflow
    at = positions(words.index_select(1, place).view(torch.bool).view(-1))
    slab, word = at // max(1, 8 * len(place)), at // 8 % max(1, len(place))
    return (slab * words.shape[1] + place.index_select(0, word)) * 8 + at % 8


def largest(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return ``x.topk(k)`` of each row of x (b, n), three times as fast if n is many times k.

    The parts of a row are laid over each other: its k largest values are at the k positions with the largest
    maxima.
    """
    across = x.shape[1] // SLABS
    if across <= k:
        top = x.topk(k, dim=1)
        return top.values, top.indices
    slabs = x[:, : SLABS * across].unflatten(1, (SLABS, across))
    place = slabs.amax(1).topk(k, dim=1, sorted=False).indices
    first = torch.arange(0, SLABS * across, across, device=x.device)
    rest = torch.arange(SLABS * across, x.shape[1], device=x.device).expand(len(x), -1)
    candidates = torch.cat([(place[:, :, None] + first).flatten(1), rest], dim=1)
    top = x.gather(1, candidates).topk(k, dim=1)
    return top.values, candidates.gather(1, top.indices)


@contextmanager
def quiet_sparse() -> Iterator[None]:
    """Silence torch's warnings about sparse layouts (in beta; invariants not checked)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        yield


def coo(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the matrix with ``value`` at ``row`` and ``column``, all (P,); duplicates are summed."""
    return torch.sparse_coo_tensor(torch.stack([row, column]), value, shape, check_invariants=False)


def as_scipy(matrix: Tensor) -> csr_array:
    """Return a CSR matrix on a CPU as one of scipy, in the same memory."""
    parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
    return csr_array(tuple(part.numpy() for part in parts), shape=matrix.shape)


def csr(matrix: csr_array) -> Tensor:
    """Return scipy's matrix as one of torch; without the memory that scipy may keep behind its arrays."""
    arrays = (matrix.indptr, matrix.indices, matrix.data)
    start, column, value = (torch.from_numpy(x if x.base is None else x.copy()) for x in arrays)
    with quiet_sparse():
        return torch.sparse_csr_tensor(start, column, value, matrix.shape, check_invariants=False)


def product(matrix: Tensor, x: Tensor) -> Tensor:
    """Return A·x for a CSR matrix A (n, m) and ``x`` (m, d), without a gradient.

    Of float32 tables beyond a processor's cache, as weighted bags of their rows, which ask for a row before
    they add it: two to three times as fast as a sparse product, which waits for each. ``@`` would fill and
    copy a second result.
    """
    if x.numel() >= UNCACHED and x.dtype == torch.float32 and x.device.type == "cpu":
        start, column, value = matrix.crow_indices(), matrix.col_indices(), matrix.values()
        return F.embedding_bag(
            column, x, start, mode="sum", per_sample_weights=value, include_last_offset=True
        )
    out = x.new_empty(len(matrix), x.shape[1])
    return torch.addmm(out, matrix, x, beta=0, out=out)


def products(a: Tensor, b: Tensor, start: Tensor, column: Tensor) -> Tensor:
    """Return products of rows r of ``a`` (B, d) with rows ``column[start[r]:start[r + 1]]`` of ``b`` (n, d).

    ``start`` (B + 1,), ``column`` (P,); returns (P,). Rows are read in place: gathering the pairs first takes
    ten times as long.
    """
    shape, zero = (len(a), len(b)), a.new_zeros(len(column))
    with quiet_sparse():
        pairs = torch.sparse_csr_tensor(start, column, zero, shape, check_invariants=False)
    return torch.sparse.sampled_addmm(pairs, a, b.T, beta=0.0).values()


def expand(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of the range and each position in it, for ranges [start, stop); flat."""
    length = stop - start
    which = torch.repeat_interleave(length)
    shift = stop - length.cumsum(0)
    return which, shift.index_select(0, which) + torch.arange(len(which), device=start.device)
