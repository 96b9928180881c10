"""Vectors of new users, computed from their histories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rankers.configs import UserItemNorm
from rankers.sparse_rows import quiet_sparse

RIDGE = 0.1  # penalty, as a share of the mean eigenvalue


def history_matrix(histories: Sequence[np.ndarray], n_items: int, device: torch.device) -> Tensor:
    """Return the (B, n) sparse CSR matrix that is 1 at the items of each history."""
    lengths = torch.tensor([len(h) for h in histories])
    crow = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    column = torch.from_numpy(np.concatenate([np.sort(np.asarray(h, dtype=np.int64)) for h in histories]))
    with quiet_sparse():
        matrix = torch.sparse_csr_tensor(crow, column, torch.ones(len(column)), (len(histories), n_items))
    return matrix.to(device)


def regress(histories: Sequence[np.ndarray], users: Tensor, items: Tensor, pairs: Tensor) -> Tensor:
    """Return the (B, d) float32 vectors ū + (x − x̄)·W, with x (d',) the mean row of the chosen items.

    W (d', d) is the ridge regression of the trained ``users`` (U, d) on the mean rows x_u of ``items`` (n,
    d') over their own choices, ``pairs`` (2, m) of (user, item); x̄ and ū are the means.
    """
    users, items = users.double(), items.double()
    ones, count = items.new_ones(pairs.shape[1]), torch.bincount(pairs[0], minlength=len(users))
    with quiet_sparse():
        chosen = torch.sparse_coo_tensor(pairs, ones, (len(users), len(items))).coalesce()
    x, u = ((chosen @ items) / count[:, None])[count > 0], users[count > 0]
    middle, mean = x.mean(0), u.mean(0)
    gram = (x - middle).T @ (x - middle)
    gram.diagonal().add_(RIDGE * gram.trace() / len(gram) + torch.finfo(gram.dtype).tiny)
    slope = torch.linalg.solve(gram, (x - middle).T @ (u - mean))
    size = torch.tensor([len(h) for h in histories], device=items.device)[:, None]
    new = history_matrix(histories, len(items), items.device).double() @ items / size
    return (mean + (new - middle) @ slope).float()


def propagate(
    histories: Sequence[np.ndarray], item_layers: list[Tensor], degree: Tensor, norm: UserItemNorm
) -> Tensor:
    """Return (B, d) vectors by the model's user–item propagation, without an ID embedding of the user (0).

    ``item_layers`` are e⁰…e^L (n, d); ``degree`` (n,) counts of training. Symmetric: u = 1/(L+1) Σ_{l<L}
    Σ_{i∈H} e_i^l / √(|H|·d_i), d_i at least 1. Row with self-loop: u^{l+1} = (u^l + Σ_{i∈H} e_i^l) / (|H| +
    1), averaged over layers. The items' own layers stay as trained.
    """
    matrix = history_matrix(histories, len(degree), item_layers[0].device)
    size = torch.tensor([len(h) for h in histories], device=item_layers[0].device)[:, None].float()
    if norm == "row-self-loop":
        u = [torch.zeros(len(histories), item_layers[0].shape[1], device=item_layers[0].device)]
        for layer in item_layers[:-1]:
            u.append((u[-1] + matrix @ layer) / (size + 1))
        return torch.stack(u).mean(0)
    root = degree.clamp_min(1).to(item_layers[0].device).float().rsqrt()[:, None]
    received = sum((matrix @ (layer * root) for layer in item_layers[:-1]), torch.zeros(()))
    return received / size.sqrt() / len(item_layers)
