"""Columns of a ranker's tables, of which each process of a training holds an equal part.

A convolution treats columns alike, so that each process convolves its own. What needs whole rows exchanges
them: every process then has all columns of some rows (`Columns.by_rows`), and back (`Columns.by_columns`).
Every process computes the whole loss; gradients of a table's parts are whole, those of other weights are
parts that sum to the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from recsim_gen.core.errors import SettingError


class Columns:
    """What process ``index`` of ``count`` holds of tables (n, ``d``); alone: all, and nothing is copied.

    Raises SettingError if there are more processes than columns.
    """

    def __init__(self, d: int, index: int = 0, count: int = 1) -> None:
        if count > d:
            raise SettingError(
                f"{count} processes share the columns of embeddings: at least as many are wanted, got {d}. "
                "Launch fewer processes, or give a larger embedding_size"
            )
        self.index, self.count = index, count
        self._widths = [len(part) for part in torch.arange(d).tensor_split(self.count)]

    @property
    def shared(self) -> bool:
        """Whether other processes hold other columns."""
        return self.count > 1

    def own(self, table: Tensor) -> Tensor:
        """Return a copy of this process's columns of ``table`` (n, d)."""
        return table.tensor_split(self.count, dim=1)[self.index].clone(memory_format=torch.contiguous_format)

    def whole(self, part: Tensor) -> Tensor:
        """Return all columns (n, d) of a table of which this process holds ``part``; without a gradient."""
        if not self.shared:
            return part
        sent = part.detach().reshape(1, -1).expand(self.count, -1)
        sizes = [len(part) * width for width in self._widths]
        return self._beside(_exchanged(sent, [part.numel()] * self.count, sizes), len(part))

    def rows(self, n: int) -> slice:
        """Return the rows of a table (n, d) of which this process has all columns after `by_rows`."""
        start, stop = n * self.index // self.count, n * (self.index + 1) // self.count
        return slice(start, stop)

    def by_rows(self, part: Tensor) -> Tensor:
        """Return all columns of this process's `rows`, from its columns of all rows; differentiable."""
        return _ByRows.apply(part, self) if self.shared else part  # type: ignore[no-any-return]

    def by_columns(self, rows: Tensor, n: int) -> Tensor:
        """Return this process's columns of all ``n`` rows, from all columns of its rows; differentiable."""
        return _ByColumns.apply(rows, self, n) if self.shared else rows  # type: ignore[no-any-return]

    def sum(self, part: Tensor) -> Tensor:
        """Return the sum over the processes, of which all compute the same then; differentiable."""
        return _Sum.apply(part) if self.shared else part  # type: ignore[no-any-return]

    def norms(self, part: Tensor) -> Tensor:
        """Return the norms of vectors from the norms of the parts that this process holds; differentiable."""
        return self.sum(part.square()).sqrt() if self.shared else part

    def take(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return ``rows[at]``, each from the process that has it; differentiable.

        ``at`` counts from this process's first row: places of others are below 0 or beyond its rows.
        """
        if not self.shared:
            return rows[at]
        here = ((at >= 0) & (at < len(rows))).nonzero().squeeze(1)
        found = rows.new_zeros(len(at), rows.shape[1]).index_put((here,), rows[at[here]])
        return _Spread.apply(self.sum(found))  # type: ignore[no-any-return]

    def together(self, part: Tensor, n: int) -> Tensor:
        """Return all ``n`` rows of a table of which each process has its `rows`; without a gradient."""
        if not self.shared:
            return part
        whole = part.new_zeros(n, *part.shape[1:])
        whole[self.rows(n)] = part
        dist.all_reduce(whole)
        return whole

    def logsumexp(self, x: Tensor) -> Tensor:
        """Return log Σ e^x over the processes, of which all compute the same then; differentiable."""
        if not self.shared:
            return x
        peak = x.detach().clone()
        dist.all_reduce(peak, dist.ReduceOp.MAX)
        return self.sum((x - peak).exp()).log() + peak

    def _lengths(self, n: int) -> list[int]:
        return [n * (p + 1) // self.count - n * p // self.count for p in range(self.count)]

    def _rows_of(self, part: Tensor) -> Tensor:
        """Return `by_rows` of ``part`` (n, own width)."""
        lengths = self._lengths(len(part))
        sizes = [lengths[self.index] * width for width in self._widths]
        sent = [length * self._widths[self.index] for length in lengths]
        return self._beside(_exchanged(part, sent, sizes), lengths[self.index])

    def _columns_of(self, rows: Tensor, n: int) -> Tensor:
        """Return `by_columns` of ``rows`` (own length, d)."""
        width = self._widths[self.index]
        parts = torch.cat([columns.reshape(-1) for columns in rows.split(self._widths, dim=1)])
        sent = [len(rows) * each for each in self._widths]
        return _exchanged(parts, sent, [length * width for length in self._lengths(n)]).view(n, width)

    def _beside(self, flat: Tensor, n: int) -> Tensor:
        """Return the (n, d) table of the processes' columns, which lie one after the other in ``flat``."""
        parts = flat.split([n * width for width in self._widths])
        return torch.cat([x.view(n, width) for x, width in zip(parts, self._widths, strict=True)], dim=1)


def _exchanged(x: Tensor, sent: list[int], sizes: list[int]) -> Tensor:
    """Return what comes from each process, of ``sizes`` numbers; ``sent`` numbers of ``x`` go to each."""
    out = x.new_empty(sum(sizes))
    dist.all_to_all_single(out, x.reshape(-1), sizes, sent)
    return out


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


class _Spread(torch.autograd.Function):
    """The same tensor, of which each process then uses a part: its gradients add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.forward(ctx, grad)


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, columns: Columns) -> Tensor:
        ctx.columns, ctx.n = columns, len(part)
        return columns._rows_of(part)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.columns._columns_of(grad, ctx.n), None


class _ByColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Columns, n: int) -> Tensor:
        ctx.columns = columns
        return columns._columns_of(rows, n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return ctx.columns._rows_of(grad), None, None


ALONE = Columns(1)
"""Those of one process."""
