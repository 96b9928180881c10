"""Message passing over fixed graphs: torch-geometric's LightGCN convolution with CSR matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.sparse import coo_array
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import LGConv

from rankers.configs import UserItemNorm
from rankers.sparse_rows import as_scipy, csr, distinct, is_large, product
from rankers.training.pairs import Batch

ROWS = 1 << 16  # rows that `row_by_row` passes on at a time

Rows = tuple[Tensor, Tensor, Tensor]  # (B, d) of a batch's users, positive and negative items


class Graph:
    """A constant sparse matrix, and its transpose for the backward pass.

    Storing both makes a step several times faster than a transposition in every backward pass.
    """

    def __init__(self, matrix: Tensor, transpose: Tensor) -> None:
        self.matrix, self.transpose = matrix, transpose

    @classmethod
    def from_edges(
        cls, row: Tensor, column: Tensor, weight: Tensor, n: int, *, symmetric: bool = False
    ) -> Graph:
        """Return the n×n graph with ``weight`` at (row, column); weights of the same place are summed.

        A ``symmetric`` one is its own transpose and is stored once.
        """
        places = tuple(index.int().cpu().numpy() for index in (row, column))
        matrix = coo_array((weight.cpu().numpy(), places), shape=(n, n)).tocsr()
        ours = csr(matrix).to(weight.device)
        return cls(ours, ours if symmetric else csr(matrix.T.tocsr()).to(weight.device))

    @classmethod
    def from_neighbours(cls, index: Tensor, weight: Tensor) -> Graph:
        """Return the n×n float32 graph with ``weight`` (n, k) at the columns ``index`` (n, k)."""
        n, k = index.shape
        row = torch.arange(n, device=index.device).repeat_interleave(k)
        return cls.from_edges(row, index.reshape(-1), weight.detach().float().reshape(-1), n)

    def of_rows(self, rows: Tensor) -> Graph:
        """Return the edges into these nodes only: a matrix (rows, n), on a CPU."""
        some = as_scipy(self.matrix)[rows.numpy()]
        return Graph(csr(some), csr(some.T.tocsr()))


@dataclass(frozen=True)
class Near:
    """What of a graph over users, then items, a batch's rows of the last layer are computed from.

    Parameters
    ----------
    users, items
        Distinct rows of the batch, increasing; None: all rows.
    batch
        The batch, as places in them.
    edges
        Edges of the graph into them.
    """

    users: Tensor | None
    items: Tensor | None
    batch: Batch
    edges: Graph

    @classmethod
    def of(cls, batch: Batch, graph: Graph, n_users: int, d: int) -> Near:
        """Return the distinct rows if tables are large and on a CPU, else all rows."""
        if not is_large(len(graph.matrix), d) or batch.user.device.type != "cpu":
            return cls(None, None, batch, graph)
        users, user = distinct(batch.user, n_users)
        items, item = distinct(torch.cat([batch.positive, batch.negative]), len(graph.matrix) - n_users)
        places = Batch(user, *item.split(len(batch.positive)))
        return cls(users, items, places, graph.of_rows(torch.cat([users, n_users + items])))

    def sizes(self, n_users: int, n_items: int) -> tuple[int, int]:
        """Return the number of users and of items among `rows`, of so many in all."""
        if self.users is None or self.items is None:
            return n_users, n_items
        return len(self.users), len(self.items)

    def places(self) -> Batch:
        """Return the batch as rows of the tables."""
        if self.users is None or self.items is None:
            return self.batch
        user, positive, negative = self.batch
        return Batch(self.users[user], self.items[positive], self.items[negative])

    def rows(self, n_users: int) -> Tensor | None:
        """Return the nodes of the graph, (rows,); None: all."""
        if self.users is None or self.items is None:
            return None
        return torch.cat([self.users, n_users + self.items])


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return product(graph.matrix, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return product(ctx.graph.transpose, grad.contiguous()), None


class _RowsOfMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        items: Tensor,
        graph: Graph,
        depth: int,
        near: Near,
        extra: Tensor | None,
        first: bool,
    ) -> tuple[Tensor, ...]:
        """Return the rows of `rows_of_mean`; with ``first``, also those of `rows_of_mean_and_first`."""
        ctx.graph, ctx.depth, ctx.near, ctx.has_extra = graph, depth, near, extra is not None
        ctx.sizes = len(users), len(items)
        rows, sizes = near.rows(len(users)), near.sizes(*ctx.sizes)
        mean = _mean(users, items, graph, depth, near.edges, rows).split(sizes)
        if extra is not None:
            mean[1].add_(extra)
        out = [mean[t].index_select(0, at) for t, at in zip((0, 1, 1), near.batch, strict=True)]
        if first:
            out += [x.index_select(0, at) for x, at in zip((users, items, items), near.places(), strict=True)]
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Return the gradients of users, items and ``extra``; the last layer goes first."""
        near = ctx.near
        rows, sizes = near.rows(ctx.sizes[0]), near.sizes(*ctx.sizes)
        total = _scattered(near.batch, grads[:3], sizes)
        extra = total[sizes[0] :].clone() if ctx.has_extra else None
        layer = total.div_(1 + ctx.depth)
        for step in range(ctx.depth):
            layer = product((ctx.graph if step else near.edges).transpose, layer)
            _add_rows(layer, rows, total)
        if len(layer) < sum(ctx.sizes):  # no layer
            layer = _add_rows(total.new_zeros(sum(ctx.sizes), total.shape[1]), rows, total)
        users, items = layer.split(ctx.sizes)
        for table, at, grad in zip((users, items, items), near.places(), grads[3:], strict=False):
            table.index_add_(0, at, grad)
        return users, items, None, None, None, extra, None


def _mean(users: Tensor, items: Tensor, graph: Graph, depth: int, last: Graph, rows: Tensor | None) -> Tensor:
    """Return ``rows`` (None: all) of the mean of layers, (rows, d); ``last``: edges into these rows."""
    layer = total = torch.cat([users, items])
    for _ in range(depth - 1):
        layer = product(graph.matrix, layer)
        total.add_(layer)
    if rows is not None:
        total = total.index_select(0, rows)
    if depth:
        total.add_(product(last.matrix, layer))
    return total.div_(1 + depth)


def _add_rows(table: Tensor, rows: Tensor | None, x: Tensor) -> Tensor:
    """Add ``x`` to ``rows`` of the table (None: all), in place."""
    return table.add_(x) if rows is None else table.index_add_(0, rows, x)


def _scattered(batch: Batch, grads: Sequence[Tensor], sizes: tuple[int, int]) -> Tensor:
    """Return the gradient of a table over users and items from those of a batch's rows of it."""
    total = grads[0].new_zeros(sum(sizes), grads[0].shape[1])
    users, items = total.split(sizes)
    users.index_add_(0, batch.user, grads[0])
    items.index_add_(0, batch.positive, grads[1])
    items += torch.zeros_like(items).index_add_(0, batch.negative, grads[2])
    return total


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
    return Graph.from_edges(row, column, weight, n, symmetric=norm == "symmetric")


def layers(conv: GraphConv, x: Tensor, graph: Graph, depth: int) -> list[Tensor]:
    """Return [x, A·x, …, A^depth·x]."""
    out = [x]
    for _ in range(depth):
        out.append(conv(out[-1], graph))
    return out


@torch.no_grad()
def mean_of_layers(users: Tensor, items: Tensor, graph: Graph, depth: int) -> tuple[Tensor, Tensor]:
    """Return the means of `layers` of users (U, d) and of items (n, d), without a gradient."""
    mean = _mean(users, items, graph, depth, graph, None)
    return mean[: len(users)], mean[len(users) :]


def rows_of_mean(
    users: Tensor, items: Tensor, graph: Graph, depth: int, near: Near, extra: Tensor | None = None
) -> Rows:
    """Return a batch's rows (B, d) of `mean_of_layers`, differentiable: users, positive and negative items.

    ``extra`` (rows, d) is added to the items of ``near``. The means of all nodes are never made.
    """
    rows: Rows = _RowsOfMean.apply(users, items, graph, depth, near, extra, False)
    return rows


def rows_of_mean_and_first(
    users: Tensor, items: Tensor, graph: Graph, depth: int, near: Near
) -> tuple[Rows, Rows]:
    """Return `rows_of_mean`, and the batch's rows of ``users`` and ``items``.

    Gradients of both are summed in one table: autograd would make another for the sum.
    """
    rows = _RowsOfMean.apply(users, items, graph, depth, near, None, True)
    return rows[:3], rows[3:]


def row_by_row(function: Callable[..., Tensor], *tables: Tensor) -> Tensor:
    """Return ``function(*tables)`` (n, d), whose row depends on that row of the tables only.

    What it stores for the backward pass is, of large tables, computed again, `ROWS` rows at a time.
    """
    if not is_large(*tables[0].shape):
        return function(*tables)
    parts = zip(*(table.split(ROWS) for table in tables), strict=True)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])
