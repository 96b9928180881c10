"""Contrastive loss of MICRO, which aligns each modality's view of an item with the fused one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 1 << 25  # similarities in memory at a time: 128 MiB in float32


def contrastive_loss(
    view: Tensor, fused: Tensor, temperature: float, anchors: Tensor | None = None
) -> Tensor:
    """Return the mean over anchors i of −log e^{s(v_i,f_i)} / (Σ_j e^{s(v_i,f_j)} + Σ_{j≠i} e^{s(v_i,v_j)}).

    s is the inner product divided by the temperature; rows of ``view`` and ``fused`` (n, d) have length 1.
    Denominators always run over all n items. ``anchors`` (a,) restricts the mean to these items (unbiased if
    they are drawn uniformly); None: all. Computed in chunks, whose similarities are recomputed in the
    backward pass: O(chunk·n) memory. Zhang et al., Sec. 3.4.
    """
    if anchors is None:
        anchors = torch.arange(len(view), device=view.device)
    size = max(1, CHUNK_ELEMENTS // (2 * len(view)))
    if len(anchors) <= size:
        return _chunk(view, fused, anchors, temperature) / len(anchors)
    total = view.new_zeros(())
    for chunk in anchors.split(size):
        total = total + checkpoint(_chunk, view, fused, chunk, temperature, use_reentrant=False)
    return total / len(anchors)


def _chunk(view: Tensor, fused: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    mine = view[anchors] / temperature
    row = torch.arange(len(anchors), device=view.device)
    between, within = mine @ fused.T, mine @ view.T
    positive = between[row, anchors]
    within[row, anchors] = -torch.inf  # the anchor itself; in place, since a copy is as large as the chunk
    peak = torch.maximum(between.detach().amax(1), within.detach().amax(1))
    total = torch.stack([x.sub_(peak[:, None]).exp_().sum(1) for x in (between, within)]).sum(0)
    return (total.log() + peak - positive).sum()
