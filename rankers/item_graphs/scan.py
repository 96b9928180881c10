"""One pass over all items for a batch of new rows: the lists that they may enter, and their own lists.

The product with all items is computed in bfloat16 if the processor multiplies it, with half the bytes and
twice the speed of float32, and in blocks that fit into its cache. Rounding is bounded by |x·y − x̂·ŷ| ≤ |x −
x̂|·|ŷ| + |x|·|y − ŷ|, so no row is missed; neighbours are decided elsewhere, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rankers.item_graphs.bfloat16 import multiplies_bfloat16
from rankers.item_graphs.knn import MARGIN
from rankers.sparse_rows import Ragged, largest, true_at

BLOCK = 4096  # items per block: with a hundred new rows, a megabyte of products
SAMPLE = 32  # one of so many items gives the first lower bound of the nearest
ROWS = 1 << 16  # rows rounded at a time


@dataclass(frozen=True)
class Quick:
    """Rows (n, d) of length 1 or 0, rounded for the product; ``lost``: largest norm of a rounding error."""

    rows: Tensor
    lost: float

    @classmethod
    @torch.no_grad()
    def of(cls, unit: Tensor, kind: torch.dtype | None = None) -> Quick:
        """Return ``unit`` rows (n, d) float64 as ``kind``, bfloat16 or float32; None: the faster one."""
        rows = unit.to(kind or _quickest(unit))
        parts = zip(unit.split(ROWS), rows.split(ROWS), strict=True)
        return cls(rows, max(float((exact - rounded).norm(dim=1).amax()) for exact, rounded in parts))

    def error(self, new: Tensor, rounded: Tensor) -> Tensor:
        """Return a (B, 1) float32 bound on |product of ``rounded`` − that of ``new``| before it is stored.

        ``rounded`` and ``new`` are (B, d).
        """
        taken, length = (x.norm(dim=1, keepdim=True) for x in (new - rounded.double(), new))
        return (taken * (1 + self.lost) + length * self.lost + MARGIN).float()


def _quickest(unit: Tensor) -> torch.dtype:
    """Return bfloat16 if the CPU multiplies it at twice the speed of float32 and there are enough rows."""
    bfloat16 = unit.device.type == "cpu" and len(unit) >= BLOCK and multiplies_bfloat16()
    return torch.bfloat16 if bfloat16 else torch.float32


@torch.no_grad()
def scan(new: Tensor, quick: Quick, lowest: Tensor | None, count: int) -> tuple[Ragged, Ragged]:
    """Return which items each of ``new`` (B, d) float64 may be a neighbour of, and which are its nearest.

    The first contains all items to which its cosine is at least ``lowest`` (n,), and more; None: no items.
    The second contains all items among its ``count`` nearest, ties included, and more. Rows have length 1 or
    0; a zero row has no nearest items. O(B·block) memory unless many tie.
    """
    kind, n = quick.rows.dtype, len(quick.rows)
    rounded = new.to(kind)
    error = quick.error(new, rounded)
    least = (new.new_full((n,), torch.inf) if lowest is None else lowest - error.amax()).to(kind)
    top = (rounded @ quick.rows[::SAMPLE].T).float()
    bar = torch.full_like(error, -torch.inf)
    if count <= top.shape[1]:
        bar = _bar(largest(top, count)[0][:, -1:], error, kind)
    bar[~new.any(1)] = torch.inf
    held = rounded.new_empty(len(new) * min(BLOCK, n))
    masks = held.new_empty(2, len(held), dtype=torch.bool)
    keys, values, again = list[Tensor](), list[Tensor](), 1
    for number, start in enumerate(range(0, n, BLOCK)):
        if number == again:  # more items raise the bound: it is updated after 1, 2, 4, 8 … blocks
            keys, values, again = [torch.cat(keys)], [torch.cat(values)], 2 * again
            bar = torch.maximum(bar, _bar(kth(values[0], keys[0] // n, count, len(new)), error, kind))
        rows = quick.rows[start : start + BLOCK]
        near = torch.mm(rounded, rows.T, out=held[: len(new) * len(rows)].view(len(new), len(rows)))
        at = true_at(_reaching(near, least[start : start + BLOCK], bar.to(near.dtype), masks))
        keys.append(torch.div(at, len(rows), rounding_mode="floor") * n + at % len(rows) + start)
        values.append(near.view(-1).index_select(0, at))
    key, order = torch.cat(keys).sort()
    value = torch.cat(values).index_select(0, order)
    found = Ragged.of(key, len(new), n)
    bar = torch.maximum(bar, _bar(kth(value, found.which, count, len(new)), error, kind)).to(kind)
    enters, mine = value >= least.index_select(0, found.item), value >= bar.squeeze(1)[found.which]
    return Ragged.of(key[enters], len(new), n), Ragged.of(key[mine], len(new), n)


def _bar(kth: Tensor, error: Tensor, kind: torch.dtype) -> Tensor:
    """Return a lower bound of the products of the k nearest, given k products of at least ``kth`` (B, 1).

    ``kind`` is the type in which products were stored.
    """
    return kth - torch.finfo(kind).eps / 2 * kth.abs() - 2 * error


def kth(value: Tensor, which: Tensor, k: int, rows: int) -> Tensor:
    """Return (rows, 1) float32 k-th largest ``value`` of each row in ``which``; −inf if there are fewer.

    Values are within ±2, so 4·row − value increases with the row, and within a row with decreasing value.
    """
    if not len(value):
        return torch.full((rows, 1), -torch.inf, device=value.device)
    rising = _sorted(4.0 * which - value.double())
    count = torch.bincount(which, minlength=rows)
    at = (count.cumsum(0) - count + k - 1).clamp_max_(len(rising) - 1)
    kth = 4.0 * torch.arange(rows, device=value.device) - rising[at]
    return kth.float().masked_fill(count < k, -torch.inf)[:, None]


def _sorted(x: Tensor) -> Tensor:
    """Return ``x`` (n,) in rising order; on a CPU by numpy, up to ten times as fast."""
    return x.sort().values if x.device.type != "cpu" else torch.from_numpy(np.sort(x.numpy()))


def _reaching(near: Tensor, least: Tensor, bar: Tensor, held: Tensor) -> Tensor:
    """Return where ``near`` (B, b) is at least ``least`` (b,) or ``bar`` (B, 1); bfloat16: or one is ≤ 0.

    On a CPU by numpy, into ``held`` (2, B·b or more), and bfloat16 by its bits: as integers, they increase
    with positive numbers and are all above those of negative numbers.
    """
    if near.device.type != "cpu":
        return (near >= least) | (near >= bar)
    if near.dtype == torch.bfloat16:
        anything = torch.iinfo(torch.int16).min
        least, bar = (x.view(torch.int16).masked_fill(x <= 0, anything) for x in (least, bar))
        near = near.view(torch.int16)
    first, second = held[:, : near.numel()].view(2, *near.shape).numpy()
    np.greater_equal(near.numpy(), least.numpy(), out=first)
    np.greater_equal(near.numpy(), bar.numpy(), out=second)
    return torch.from_numpy(np.logical_or(first, second, out=first))
