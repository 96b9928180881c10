"""Features too large for memory: float16 rows of a mapped file, read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recsim_gen.core.vectors import unload

ROWS = 1 << 15  # rows in memory at a time


class UnitRows:
    """Rows of ``x`` (n, d) scaled to length 1, float32, in an ``order`` (n,) of their own; made on access."""

    def __init__(self, x: Tensor, order: Tensor | None = None) -> None:
        self.x, self.order, self.shape = x, order, x.shape

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        return F.normalize(self.x[rows if self.order is None else self.order[rows]].float(), dim=1)

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield all rows, ``size`` at a time."""
        return (self[slice(start, start + size)] for start in range(0, len(self), size))

    def in_order(self, order: Tensor) -> Tensor | UnitRows:
        """Return the rows in this order: a table in memory, or one made on access if they are mapped."""
        rows = UnitRows(self.x, order)
        if self.x.dtype == torch.float16:
            return rows
        out = torch.empty(self.shape)
        for part, to in zip(rows.split(ROWS), out.split(ROWS), strict=True):
            to.copy_(part)
        return out


def parts_of(x: Tensor) -> Iterator[Tensor]:
    """Yield the rows of ``x`` (n, d), `ROWS` at a time; mapped ones leave memory after each part."""
    for part in x.split(ROWS):
        yield part
        unload(x.data_ptr())


def by_rows(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return (n, c) float32 of x·weightᵀ + bias in float64, ``x`` (n, d) float16, without any other table."""
    projected: Tensor = _ByRows.apply(x, weight, bias)
    return projected


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.cat([(part.double() @ weight.T + bias).float() for part in parts_of(x)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        parts = zip(grad.split(ROWS), parts_of(x), strict=True)
        slope = torch.stack([g.double().T @ part.double() for g, part in parts]).sum(0)
        return None, slope, grad.double().sum(0)
