"""Rows of a table that differ from it, under each of many changes: a sparse batch of tables.

Beside it, the few operations on sparse and on wide tables for which torch's own are slow or loud.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SLABS = 16  # parts that `largest` and `true_at` lay over each other


@dataclass(frozen=True)
class SparseRows:
    """New rows of an (n, d) table: ``key`` (M,) = change·n + row, rising and distinct; ``row`` (M, d)."""

    key: Tensor
    row: Tensor


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, end to end: list b is ``item[start[b]:start[b + 1]]``."""

    start: Tensor
    item: Tensor

    @classmethod
    def of(cls, key: Tensor, lists: int, n: int) -> Ragged:
        """From rising ``key`` (M,) = list·n + item."""
        bounds = torch.arange(lists + 1, device=key.device) * n
        return cls(torch.searchsorted(key, bounds), key % n)

    @cached_property
    def which(self) -> Tensor:
        """(M,) the list that each item stands in."""
        return torch.repeat_interleave(self.start.diff())

    def take(self, lists: Tensor) -> Ragged:
        """The ``lists`` (B,), in this order."""
        start, stop = self.start.index_select(0, lists), self.start.index_select(0, lists + 1)
        length = torch.cat([start.new_zeros(1), (stop - start).cumsum(0)])
        return Ragged(length, self.item.index_select(0, expand(start, stop)[1]))


def none(base: Tensor) -> SparseRows:
    """No row of ``base`` (n, d) differs."""
    return SparseRows(torch.zeros(0, dtype=torch.long, device=base.device), base[:0])


def union(keys: Sequence[Tensor]) -> Tensor:
    """Rising distinct keys of all; of one, which is so already, itself."""
    some = [key for key in keys if len(key)]
    return some[0] if len(some) == 1 else torch.unique(torch.cat(list(keys)))


def above(x: Tensor, bar: Tensor) -> Tensor:
    """``x > bar``, on a CPU by numpy, which is several times as fast as torch where the answer is bool."""
    if x.device.type != "cpu":
        return x > bar
    return torch.from_numpy(np.greater(x.detach().numpy(), bar.detach().numpy()))


def at_least(x: Tensor, bar: Tensor) -> Tensor:
    """``x >= bar``, as `above`."""
    if x.device.type != "cpu":
        return x >= bar
    return torch.from_numpy(np.greater_equal(x.detach().numpy(), bar.detach().numpy()))


def count_true(mask: Tensor) -> Tensor:
    """How many are true in each row of ``mask`` (b, n); adds eight at once.

    In a word of eight the bytes, 0 or 1, are sums of their own; 255 words fit into them.
    """
    each = 255 if mask.shape[1] > 8 * 255 else -(-mask.shape[1] // 8)
    lacking = -mask.shape[1] % (8 * each)
    words = (F.pad(mask, (0, lacking)) if lacking else mask).view(torch.int64)  # a pad of nothing copies
    sums = words.unflatten(1, (-1, each)).sum(2)
    return sums.view(torch.uint8).sum(1)


def true_at(mask: Tensor) -> Tensor:
    """Rising flat positions at which ``mask`` is true, few of many; looks at many at once."""
    flat = mask.reshape(-1)
    lacking = -len(flat) % (8 * SLABS)
    words = (F.pad(flat, (0, lacking)) if lacking else flat).view(torch.int64).view(SLABS, -1)
    place = words.sum(0).nonzero().squeeze(1)  # bytes are 0 or 1: sums of a few do not run over
    slab, word, byte = words.index_select(1, place).view(torch.uint8).view(SLABS, -1, 8).nonzero().unbind(1)
    return (slab * words.shape[1] + place.index_select(0, word)) * 8 + byte


def largest(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As ``x.topk(k)`` of each row of x (b, n), three times as fast where n is many times k.

    The row's parts are laid over each other: its k largest stand in the k places of the largest maxima.
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
    """Without torch's remarks on its sparse layouts (young; not checked)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        yield


def coo(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """Matrix with ``value`` at ``row`` and ``column``, all (P,); doubles add up."""
    return torch.sparse_coo_tensor(torch.stack([row, column]), value, shape, check_invariants=False)


def products(a: Tensor, b: Tensor, start: Tensor, column: Tensor) -> Tensor:
    """Products of each row r of ``a`` (B, d) with the rows ``column[start[r]:start[r + 1]]`` of ``b`` (n, d).

    ``start`` (B + 1,), ``column`` (P,); returns (P,). The rows are read where they stand: to gather the
    pairs first takes ten times as long.
    """
    shape, zero = (len(a), len(b)), a.new_zeros(len(column))
    with quiet_sparse():
        pairs = torch.sparse_csr_tensor(start, column, zero, shape, check_invariants=False)
    return torch.sparse.sampled_addmm(pairs, a, b.T, beta=0.0).values()


def expand(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """For ranges [start, stop): the number of the range and each position in it, flat."""
    length = stop - start
    which = torch.repeat_interleave(length)
    shift = stop - length.cumsum(0)
    return which, shift.index_select(0, which) + torch.arange(len(which), device=start.device)
