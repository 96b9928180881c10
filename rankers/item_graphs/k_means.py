"""Spherical k-means of unit rows (Dhillon & Modha, Machine Learning 2001), by products in bfloat16.

Centres need not be exact, since what is looked for near them is decided elsewhere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rankers.item_graphs.bfloat16 import rounded_products
from rankers.sparse_rows import product, quiet_sparse

ROUNDS = 4
PRODUCT = 1 << 20  # similarities at a time, which stay in the processor's cache


def centres_of(x: Tensor, m: int) -> Tensor:
    """Return (m, d) centres of unit rows ``x`` (n, d) float32, which are in random order; n ≥ m.

    A centre without rows stays where it is.
    """
    centre, one = x[:m].clone(), torch.ones(len(x))
    for _ in range(ROUNDS):
        cell = closest(x, centre)
        start, rows = by_cell(cell, m)
        with quiet_sparse():
            members = torch.sparse_csr_tensor(start, rows, one, (m, len(x)), check_invariants=False)
        centre = torch.where(start.diff()[:, None] > 0, F.normalize(product(members, x), dim=1), centre)
    return centre


def closest(x: Tensor, centre: Tensor) -> Tensor:
    """Return (n,) the centre (m, d) most similar to each row of ``x`` (n, d); the first of equals."""
    parts = x.split(max(1, PRODUCT // len(centre)))
    held = x.new_empty(len(parts[0]), len(centre))  # allocated once
    with rounded_products():
        found = [torch.mm(part, centre.T, out=held[: len(part)]).numpy().argmax(axis=1) for part in parts]
    return torch.cat([torch.from_numpy(cell) for cell in found])


def chained(centre: Tensor) -> Tensor:
    """Return ``centre`` (m, d) in an order in which each is followed by the nearest of those left."""
    near, left, order = centre @ centre.T, torch.zeros(len(centre)), [0]
    for _ in range(len(centre) - 1):
        left[order[-1]] = -torch.inf
        order.append(int((near[order[-1]] + left).argmax()))
    return centre[order]


def by_cell(cell: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Return where each of ``m`` cells starts (m + 1,), and the rows (n,), cell by cell."""
    count = torch.bincount(cell, minlength=m)
    return torch.cat([count.new_zeros(1), count.cumsum(0)]), cell.argsort(stable=True)
