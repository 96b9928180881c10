"""LaVIT's token selector: which patches of an image become tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Selector(nn.Module):
    """Keeps or drops each patch by a Gumbel-softmax of its features and the image's mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.in_conv = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(width, half),
            nn.GELU(),
            nn.Linear(half, quarter),
            nn.GELU(),
            nn.Linear(quarter, 2),
            nn.LogSoftmax(dim=-1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, N, 2) log-probabilities to keep and to drop, given ``features`` (B, N, width)."""
        own, shared = self.in_conv(features).chunk(2, dim=-1)
        shared = shared.mean(1, keepdim=True).expand_as(shared)
        scores: Tensor = self.out_conv(torch.cat([own, shared], dim=-1))
        return scores


def keep(scores: Tensor, noise: torch.Generator) -> Tensor:
    """Sample (B, N) 1 for kept and 0 for dropped patches from ``scores`` (B, N, 2), also at inference.

    The gradient is that of the softmax (straight-through). If no patch is sampled, the most likely one is
    kept, since an image needs at least one token.
    """
    gumbel = -torch.empty(scores.shape).exponential_(generator=noise).log().to(scores)
    soft = (scores + gumbel).softmax(-1)[..., 0]
    hard = (soft > 0.5).to(soft)
    best = nn.functional.one_hot(scores[..., 0].argmax(1), scores.shape[1]).to(soft)
    hard = torch.where(hard.sum(1, keepdim=True) > 0, hard, best)
    return hard + (soft - soft.detach())
