"""The fusion (Eq. 8–9): combines the language model's output with the keywords."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsim_gen.core.errors import SettingError

START = 0.02  # initial standard deviation of the last linear map


class Fusion(nn.Module):
    """E_m = [E_txt; mapped], cross-attention from E_m to E_key, and a map to what is added to E_key.

    E_txt is the mean of the prompt's states, a single token, since all tokens of the prompt would dominate
    the UNet's attention. The result is added to E_key's own states, by a map initialised near zero, so that
    initially the UNet can interpret P_gen, and the first images are those of the keywords.
    """

    def __init__(self, width_text: int, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise SettingError(f"fusion_heads must divide the text encoder's width {width}, got {heads}")
        self.text = nn.Linear(width_text, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.leave = nn.Linear(width, width)
        nn.init.normal_(self.leave.weight, std=START)
        nn.init.zeros_(self.leave.bias)

    def joined(self, text: Tensor, mapped: Tensor) -> Tensor:
        """Return E_m (B, 1 + Q, d) of ``text`` (B, h) and ``mapped`` (B, Q, d) (Eq. 8)."""
        return torch.cat([self.text(text)[:, None], mapped], dim=1)

    def forward(self, joined: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """Return the learned part of P_gen (B, 1 + Q, d) (Eq. 9).

        ``key`` (B, T, d); ``mask`` (B, T) is True for words and False for padding, which is not attended to.
        """
        attended = self.attention(joined, key, key, key_padding_mask=~mask, need_weights=False)[0]
        moved: Tensor = spread(key, joined.shape[1] - 1) + self.leave(joined + attended)
        return moved


def spread(states: Tensor, queries: int) -> Tensor:
    """Return (B, 1 + queries, d) of text states (B, T, d): the last state, then evenly spaced ones."""
    places = torch.linspace(0, states.shape[1] - 1, queries, device=states.device).round().long()
    return torch.cat([states[:, -1:], states[:, places]], dim=1)
