"""Attention layers of LaVIT's tokenizer and de-tokenizer, with the published parameter names."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6  # smoothing of the weights: if nothing is allowed, they are uniform


def masked_softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Return (…, N, M) weights w = (e ∘ a + EPS/M) / (Σ e ∘ a + EPS), e = exp(scores − max).

    ``allowed`` a is 0 or 1 and broadcasts; gradients flow through it, so that the selection can be learned.
    """
    weight = (scores - scores.amax(-1, keepdim=True)).exp() * allowed
    return (weight + EPS / scores.shape[-1]) / (weight.sum(-1, keepdim=True) + EPS)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, allowed: Tensor | None = None
) -> Tensor:
    """Return (B, N, d) attention of ``queries`` (B, N, d) to ``keys`` and ``values`` (B, M, d).

    ``allowed`` (B, 1 or N, M): None for all; bool for an ordinary softmax; float for ``masked_softmax``.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (queries, keys, values))
    if allowed is None or allowed.dtype == torch.bool:
        mask = None if allowed is None else allowed[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    else:
        mixed = masked_softmax(q @ k.mT / math.sqrt(q.shape[-1]), allowed[:, None]) @ v
    return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Self-attention of (B, N, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return (B, N, width); ``allowed`` as for ``attend``."""
        queries, keys, values = self.qkv(x).chunk(3, dim=-1)
        mixed: Tensor = self.proj(attend(queries, keys, values, self.heads, allowed))
        return mixed


class CrossAttention(nn.Module):
    """Attention of (B, N, width) to others (B, M, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, others: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return (B, N, width); ``allowed`` as for ``attend``."""
        mixed = attend(self.query(x), self.key(others), self.value(others), self.heads, allowed)
        projected: Tensor = self.proj(mixed)
        return projected


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, width)."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y
