"""LaVIT's de-tokenizer: image tokens to conditions of the diffusion model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generators.lavit.attention import CrossAttention, FeedForward, SelfAttention
from generators.lavit.tokenizer import Sizes


class DecoderBlock(nn.Module):
    """Self-attention of queries, attention to tokens, feed-forward."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm0, self.norm1, self.norm2 = (nn.LayerNorm(width) for _ in range(3))
        self.self_attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = FeedForward(width, inner)

    def forward(self, queries: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        """Return (B, Q, width) given ``queries`` (B, Q, width) and ``tokens`` (B, M, width)."""
        x = queries + self.self_attn(self.norm0(queries))
        x = x + self.cross_attn(self.norm1(x), tokens, present[:, None])
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Decoder(nn.Module):
    """One query per patch, with the parameter names of ``tokenizer_decoder.bin``.

    ``states``: width of the diffusion model's text states, 768 for SD-1.5.
    """

    def __init__(self, sizes: Sizes, states: int) -> None:
        super().__init__()
        width = sizes.width
        self.in_proj = nn.Linear(sizes.code_width, width)
        # Small queries and places beside large codes: what is decoded depends on codes from the start.
        nn.init.normal_(self.in_proj.weight, std=0.6)
        self.pos_embed = nn.Parameter(0.1 * torch.randn(1, sizes.patches, width))
        self.query_embed = nn.Parameter(0.1 * torch.randn(1, sizes.patches, width))
        blocks = [DecoderBlock(width, sizes.heads, sizes.inner) for _ in range(sizes.blocks)]
        self.blocks, self.norm = nn.ModuleList(blocks), nn.LayerNorm(width)
        self.decode_task_layer = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
        self.unet_proj = nn.Linear(width, states)

    def features(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return (B, patches, width) features of the patches, given code ``vectors`` (B, M, c).

        ``present`` (B, M) bool. M is at most the number of patches: a token is identified by its place among
        all.
        """
        tokens = self.in_proj(vectors) + self.pos_embed[:, : vectors.shape[1]]
        queries = self.query_embed.expand(len(tokens), -1, -1)
        for block in self.blocks:
            queries = block(queries, tokens, present)
        features: Tensor = self.decode_task_layer(self.norm(queries))
        return features

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return (B, patches, states) conditions of the diffusion model in place of text states."""
        states: Tensor = self.unet_proj(self.features(vectors, present))
        return states
