"""Edges with a gradient: their weights from the rows at their ends, and messages over them.

Computed directly, both would store an (n, k, d) table, forwards and backwards; as sparse products, each the
derivative of the other, they store the edges only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rankers.sparse_rows import product, products, quiet_sparse


def edge_products(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    """Return (n, k) products of row r of ``a`` (n, d) with the rows ``index[r]`` (n, k) of ``b`` (m, d)."""
    found: Tensor = _Products.apply(a, b, index)
    return found


def messages(weight: Tensor, x: Tensor, index: Tensor) -> Tensor:
    """Return (n, d) Σ_j weight[r, j]·x[index[r, j]] for ``weight`` and ``index`` (n, k), ``x`` (m, d)."""
    found: Tensor = _Messages.apply(weight, x, index)
    return found


def _products(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    return products(a, b, _starts(index), index.reshape(-1)).view(index.shape)


def _starts(index: Tensor) -> Tensor:
    return torch.arange(0, index.numel() + 1, index.shape[1], dtype=index.dtype, device=index.device)


def _gathered(weight: Tensor, x: Tensor, index: Tensor) -> Tensor:
    """Return W·x for the sparse matrix W (n, m) with ``weight`` at ``index``."""
    shape = (len(index), len(x))
    with quiet_sparse():
        matrix = torch.sparse_csr_tensor(
            _starts(index), index.reshape(-1), weight.reshape(-1), shape, check_invariants=False
        )
        return product(matrix, x)


def _scattered(weight: Tensor, y: Tensor, index: Tensor, m: int, onto: Tensor | None = None) -> Tensor:
    """Return Wᵀ·y (m, d) for the same matrix, y (n, d); added to ``onto``, in place, if it is given."""
    order = index.reshape(-1).argsort(stable=True)
    count = torch.bincount(index.reshape(-1), minlength=m)
    start = torch.cat([count.new_zeros(1), count.cumsum(0)]).to(index.dtype)
    row, value = (order // index.shape[1]).to(index.dtype), weight.reshape(-1)[order]
    with quiet_sparse():
        matrix = torch.sparse_csr_tensor(start, row, value, (m, len(y)), check_invariants=False)
        return product(matrix, y) if onto is None else torch.addmm(onto, matrix, y, out=onto)


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, index)
        ctx.same = a is b
        return _products(a, b, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:  # type: ignore[override]
        a, b, index = ctx.saved_tensors
        of_a = _gathered(grad, b, index)
        if ctx.same:  # one table instead of two
            return _scattered(grad, a, index, len(b), of_a), None, None
        return of_a, _scattered(grad, a, index, len(b)), None


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(weight, x, index)
        return _gathered(weight, x, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        weight, x, index = ctx.saved_tensors
        grad = grad.contiguous()
        return _products(grad, x, index), _scattered(weight, grad, index, len(x)), None
