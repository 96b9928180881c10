"""GLIDE's text transformer; each net has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from recsim_gen.models.glide.config import NetConfig


class TextTransformer(nn.Module):
    """Maps tokens to states; attention is not causal.

    Positions after the text are not masked: they have learned embeddings in place of token and position, so
    that padding can aggregate the text. The last state represents the whole text.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        width, length = config.text_width, config.text_length
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(length, width))
        self.padding_embedding = nn.Parameter(0.01 * torch.randn(length, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config.text_heads,
                4 * width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.text_layers)
        )
        self.final_norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor, is_text: torch.Tensor) -> torch.Tensor:
        """Return (B, T, d) states of ``tokens`` (B, T); ``is_text`` (B, T) is False for padding."""
        words = self.token_embedding(tokens) + self.positional_embedding
        states = torch.where(is_text[..., None], words, self.padding_embedding)
        for layer in self.layers:
            states = layer(states)
        normed: torch.Tensor = self.final_norm(states)
        return normed
