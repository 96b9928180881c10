"""Which patches of a picture become tokens: LaVIT's token selector."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Selector(nn.Module):
    """Keeps or drops each patch by a Gumbel-softmax of its features and the picture's mean."""

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
        """(B, N, 2) log-probabilities to be kept and to be dropped, of ``features`` (B, N, width)."""
        own, shared = self.in_conv(features).chunk(2, dim=-1)
        shared = shared.mean(1, keepdim=True).expand_as(shared)
        scores: Tensor = self.out_conv(torch.cat([own, shared], dim=-1))
        return scores


def keep(scores: Tensor, noise: torch.Generator) -> Tensor:
    """(B, N) 1 where a patch is kept and 0 where not, drawn from ``scores`` (B, N, 2), also when drawing.

    The gradient is that of the softmax (straight through). A picture of which no patch is drawn keeps the
    likeliest one, without which it would be nothing.
    """
    gumbel = -torch.empty(scores.shape).exponential_(generator=noise).log().to(scores)
    soft = (scores + gumbel).softmax(-1)[..., 0]
    hard = (soft > 0.5).to(soft)
    best = nn.functional.one_hot(scores[..., 0].argmax(1), scores.shape[1]).to(soft)
    hard = torch.where(hard.sum(1, keepdim=True) > 0, hard, best)
    return hard + (soft - soft.detach())
