"""Contrastive loss of MICRO, which aligns each modality's view of an item with the fused one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rankers.propagation import ROWS
from rankers.training.columns import ALONE, Columns

CHUNK_ELEMENTS = 1 << 25  # similarities in memory at a time: 128 MiB in float32


def contrastive_loss(
    view: Tensor,
    fused: Tensor,
    temperature: float,
    anchors: Tensor | None = None,
    columns: Columns = ALONE,
) -> Tensor:
    """Return the mean over anchors i of −log e^{s(v_i,f_i)} / (Σ_j e^{s(v_i,f_j)} + Σ_{j≠i} e^{s(v_i,v_j)}).

    s is the inner product divided by the temperature, of rows of ``view`` (n, d), which are scaled to length
    1 here, and of ``fused`` (n, d), which have it. Denominators always run over all n items. ``anchors`` (a,)
    restricts the mean to these items (unbiased if they are drawn uniformly); None: all. Computed in chunks,
    whose similarities are recomputed in the backward pass: O(CHUNK_ELEMENTS) memory. Zhang et al., Sec. 3.4.

    Processes that share ``columns`` have their own rows of the tables here, and count ``anchors`` from their
    first one, those of others included.
    """
    if anchors is None:
        anchors = torch.arange(len(view), device=view.device)
    size = max(1, CHUNK_ELEMENTS // (2 * min(len(view), ROWS)))
    if len(anchors) <= size:
        return _chunk(view, fused, anchors, temperature, columns) / len(anchors)
    total = view.new_zeros(())
    for chunk in anchors.split(size):
        total = total + checkpoint(_chunk, view, fused, chunk, temperature, columns, use_reentrant=False)
    return total / len(anchors)


def _chunk(view: Tensor, fused: Tensor, anchors: Tensor, temperature: float, columns: Columns) -> Tensor:
    """Return the sum over ``anchors``; of more than `ROWS` items, nothing that is as long is stored."""
    if len(view) <= ROWS and not columns.shared:
        view = F.normalize(view, dim=1)
        return torch.sub(*_block(view[anchors] / temperature, view, fused, anchors)).sum()
    mine = F.normalize(columns.take(view, anchors), dim=1) / temperature
    blocks = zip(view.split(ROWS), fused.split(ROWS), strict=True)
    parts = [
        checkpoint(_of_rows, mine, v, f, anchors - block * ROWS, use_reentrant=False)
        for block, (v, f) in enumerate(blocks)
    ]
    total, positive = (torch.stack(each) for each in zip(*parts, strict=True))
    return (columns.logsumexp(total.logsumexp(0)) - columns.sum(positive.sum(0))).sum()


def _of_rows(mine: Tensor, view: Tensor, fused: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    return _block(mine, F.normalize(view, dim=1), fused, anchors)


def _block(mine: Tensor, view: Tensor, fused: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Return each anchor's log Σ_j over a block of items, and its positive's similarity, 0 if not in it."""
    own = (anchors >= 0) & (anchors < len(view))
    row, anchors = own.nonzero().squeeze(1), anchors[own]
    between, within = mine @ fused.T, mine @ view.T
    positive = mine.new_zeros(len(mine)).index_put((row,), between[row, anchors])
    within[row, anchors] = -torch.inf  # the anchor itself; in place, since a copy is as large as the chunk
    peak = torch.maximum(between.detach().amax(1), within.detach().amax(1))
    total = torch.stack([x.sub_(peak[:, None]).exp_().sum(1) for x in (between, within)]).sum(0)
    return total.log() + peak, positive
