"""Message passing over fixed graphs: torch-geometric's LightGCN convolution with CSR matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import LGConv

from rankers.configs import UserItemNorm
from rankers.sparse_rows import narrow, product, quiet_sparse

LARGE = 1 << 24  # numbers of a table from which layers are made in parts: 64 MiB in float32
NARROW = 16  # columns of such a part: a cache line; a tenth to a quarter slower than all at once
ROWS = 1 << 16  # rows that `row_by_row` passes on at a time


class Graph:
    """A constant sparse matrix, and its transpose for the backward pass.

    Storing both makes a step several times faster than a transposition in every backward pass.
    """

    def __init__(self, matrix: Tensor, transpose: Tensor) -> None:
        self.matrix, self.transpose = matrix, transpose

    @classmethod
    def from_edges(cls, row: Tensor, column: Tensor, weight: Tensor, n: int) -> Graph:
        """Return the n×n graph with ``weight`` at (row, column)."""
        with quiet_sparse():
            coo = torch.sparse_coo_tensor(torch.stack([row, column]), weight, (n, n)).coalesce()
            return cls(narrow(coo.to_sparse_csr()), narrow(coo.t().coalesce().to_sparse_csr()))

    @classmethod
    def from_neighbours(cls, index: Tensor, weight: Tensor) -> Graph:
        """Return the n×n float32 graph with ``weight`` (n, k) at the columns ``index`` (n, k)."""
        n, k = index.shape
        row = torch.arange(n, device=index.device).repeat_interleave(k)
        return cls.from_edges(row, index.reshape(-1), weight.detach().float().reshape(-1), n)


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return product(graph.matrix, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return product(ctx.graph.transpose, grad.contiguous()), None


class _MeanOfLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, graph: Graph, depth: int) -> tuple[Tensor, Tensor]:
        ctx.graph, ctx.depth, ctx.sizes = graph, depth, (len(users), len(items))
        total = torch.cat([users, items])
        for part in _columns(total):
            layer = part.contiguous()
            for _ in range(depth):
                layer = product(graph.matrix, layer)
                part.add_(layer)
        return total.div_(1 + depth).split(ctx.sizes)  # type: ignore[return-value]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        total = torch.cat(grads).div_(1 + ctx.depth)
        for part in _columns(total):
            grad = layer = part.contiguous() if part.shape != total.shape else part.clone()
            for _ in range(ctx.depth):
                layer = product(ctx.graph.transpose, layer).add_(grad)
            part.copy_(layer)
        users, items = total.split(ctx.sizes)
        return users, items, None, None


def _columns(x: Tensor) -> Sequence[Tensor]:
    """Return views of x (n, d) that a convolution passes over one by one: all of it, or `NARROW` columns."""
    return (x,) if x.numel() < LARGE else x.split(NARROW, dim=1)


class GraphConv(LGConv):
    """LightGCN's convolution (He et al., SIGIR 2020) over a `Graph`, with that graph's weights."""

    def __init__(self) -> None:
        super().__init__(normalize=False)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:  # type: ignore[override]
        """Return A·x for x (n, d)."""
        return _Multiply.apply(x, graph)


def user_item_graph(user: Tensor, item: Tensor, n_users: int, n_items: int, norm: UserItemNorm) -> Graph:
    """Return the bipartite graph over users, then items.

    Weights are 1/√(d_u d_i) if ``symmetric`` (LightGCN), D⁻¹(A + I) if ``row-self-loop`` (MICRO's published
    code).
    """
    n = n_users + n_items
    row = torch.cat([user, item + n_users])
    column = torch.cat([item + n_users, user])
    if norm == "row-self-loop":
        loops = torch.arange(n, device=row.device)
        row, column = torch.cat([row, loops]), torch.cat([column, loops])
    degree = torch.bincount(row, minlength=n).float()
    weight = 1 / degree[row] if norm == "row-self-loop" else 1 / (degree[row] * degree[column]).sqrt()
    return Graph.from_edges(row, column, weight, n)


def layers(conv: GraphConv, x: Tensor, graph: Graph, depth: int) -> list[Tensor]:
    """Return [x, A·x, …, A^depth·x]."""
    out = [x]
    for _ in range(depth):
        out.append(conv(out[-1], graph))
    return out


def mean_of_layers(users: Tensor, items: Tensor, graph: Graph, depth: int) -> tuple[Tensor, Tensor]:
    """Return the means of `layers` of users (U, d) and of items (n, d).

    Beside the result, it holds two layers at a time, of large tables `NARROW` columns of them.
    """
    means: tuple[Tensor, Tensor] = _MeanOfLayers.apply(users, items, graph, depth)
    return means


def row_by_row(function: Callable[..., Tensor], *tables: Tensor) -> Tensor:
    """Return ``function(*tables)`` (n, d), whose row depends on that row of the tables only.

    What it stores for the backward pass is, of large tables, computed again, `ROWS` rows at a time.
    """
    if tables[0].numel() < LARGE:
        return function(*tables)
    parts = zip(*(table.split(ROWS) for table in tables), strict=True)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])
