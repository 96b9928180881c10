"""The Modal Mapper (Eq. 8): maps states of image tokens to states that the UNet can interpret."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn


class ModalMapper(nn.Module):
    """As in GILL (Koh et al. 2023): linear in, transformer with learned queries, linear out.

    Parameters
    ----------
    width_in
        Width of the language model.
    width_out
        Width of the diffusion model's text encoder.
    width, layers, heads, feed_forward
        Of the transformer; ``layers`` in encoder and decoder each.
    queries
        Number of output states.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        *,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        queries: int,
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(width_in, width)
        with warnings.catch_warnings():  # pre-norm layers, needed for training, exclude a speed-up
            warnings.filterwarnings("ignore", message="enable_nested_tensor is True")
            self.transformer = nn.Transformer(
                width, heads, layers, layers, feed_forward, dropout=0.0, norm_first=True, batch_first=True
            )
        self.queries = nn.Parameter(torch.randn(1, queries, width))
        self.leave = nn.Linear(width, width_out)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, queries, width_out) given E_img (B, L, width_in)."""
        decoded = self.transformer(self.enter(image), self.queries.expand(len(image), -1, -1))
        states: Tensor = self.leave(decoded)
        return states
