"""What the patches that are dropped have to say to those that are kept: LaVIT's token merger."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generators.lavit.attention import CrossAttention, FeedForward, SelfAttention


class MergerBlock(nn.Module):
    """Causal attention among kept patches, attention to dropped ones, feed-forward."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm0, self.norm1, self.norm2 = (nn.LayerNorm(width) for _ in range(3))
        self.token_causal_attn = SelfAttention(width, heads)
        self.token_cross_attn = CrossAttention(width, heads)
        self.mlp = FeedForward(width, inner)

    def forward(self, x: Tensor, origin: Tensor, kept: Tensor) -> Tensor:
        """(B, N, width) of ``x`` and of the features ``origin`` as they came, both (B, N, width)."""
        eye = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
        seen = (kept[:, None] + (1 - kept[:, None]) * eye).tril()  # a dropped patch sees itself as well
        x = x + self.token_causal_attn(self.norm0(x), seen)
        x = x + self.token_cross_attn(self.norm1(x), origin, 1 - kept[:, None])
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Merger(nn.Module):
    """Blocks between a norm of what comes and one of what goes."""

    def __init__(self, width: int, heads: int, blocks: int, inner: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([MergerBlock(width, heads, inner) for _ in range(blocks)])
        self.ln_vision, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, features: Tensor, kept: Tensor) -> Tensor:
        """(B, N, width) of ``features`` (B, N, width) and who is ``kept`` (B, N), 1 or 0."""
        x, origin = features, self.ln_vision(features)
        for block in self.blocks:
            x = block(x, origin, kept)
        merged: Tensor = self.norm(x)
        return merged
