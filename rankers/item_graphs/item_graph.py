"""Item graph of one modality: k nearest neighbours, weighted and normalised.

Zhang et al. (MICRO, TKDE 2023), after LATTICE: cosine similarities, top k per row including the row itself,
directed; degrees are row sums. ``symmetric``: a_ij / √(d_i d_j); ``row``: a_ij / d_i; an item of degree 0 has
no edges (1/0 → 0).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rankers.configs import Norm
from rankers.item_graphs.knn import Neighbours


def edge_weights(neighbours: Neighbours, *, norm: Norm, clamp: bool) -> Tensor:
    """Return the normalised weights (n, k) of the edges i → ``neighbours.index[i]``, differentiable.

    ``clamp`` sets negative cosines to 0. If they are kept, as in the published code, they can make a degree
    negative, whose root is NaN.
    """
    value = neighbours.value.clamp_min(0) if clamp else neighbours.value
    degree = value.sum(1)
    if norm == "row":
        return value * inverse(degree)[:, None]
    some = degree != 0  # the root's derivative at 0 is infinite: mask its input too, not only its result
    root = torch.where(some, inverse(torch.where(some, degree, torch.ones_like(degree)).sqrt()), 0)
    return root[:, None] * value * root[neighbours.index]


def inverse(x: Tensor) -> Tensor:
    """Return 1/x with 1/0 = 0, without NaN in the gradient."""
    zero = x == 0
    return torch.where(zero, torch.zeros_like(x), 1 / torch.where(zero, torch.ones_like(x), x))
