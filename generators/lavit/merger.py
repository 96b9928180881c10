"""LaVIT's token merger: passes information from dropped patches to kept ones."""

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
        """Return (B, N, width) given ``x`` and the original features ``origin``, both (B, N, width)."""
        eye = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
        seen = (kept[:, None] + (1 - kept[:, None]) * eye).tril()  # a dropped patch also attends to itself
        x = x + self.token_causal_attn(self.norm0(x), seen)
        x = x + self.token_cross_attn(self.norm1(x), origin, 1 - kept[:, None])
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Merger(nn.Module):
    """Blocks with a norm before and after."""

    def __init__(self, width: int, heads: int, blocks: int, inner: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([MergerBlock(width, heads, inner) for _ in range(blocks)])
        self.ln_vision, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, features: Tensor, kept: Tensor) -> Tensor:
        """Return (B, N, width) given ``features`` (B, N, width) and ``kept`` (B, N), 1 or 0."""
        x, origin = features, self.ln_vision(features)
        for block in self.blocks:
            x = block(x, origin, kept)
        merged: Tensor = self.norm(x)
        return merged
