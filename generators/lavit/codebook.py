"""The codebook of image tokens: unit vectors to which features are quantised."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARPNESS = 10.0  # inverse temperature of the softmax that measures how evenly codes are used


class Codes(NamedTuple):
    """Nearest codes (B, M) of unit vectors ``features`` (B, M, c), their vectors (B, M, c), and a loss."""

    features: Tensor
    numbers: Tensor
    vectors: Tensor
    loss: Tensor


class Codebook(nn.Module):
    """``codes`` vectors of ``width``."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)
        with torch.no_grad():
            self.embedding.weight.copy_(F.normalize(self.embedding.weight, dim=-1))

    def distances(self, features: Tensor) -> Tensor:
        """Return (…, codes) squared distances of unit vectors ``features`` (…, width)."""
        codes = self.embedding.weight
        return 1 + codes.square().sum(1) - 2 * features @ codes.T

    def nearest(self, features: Tensor) -> Tensor:
        """Return (…) the nearest code of each of ``features`` (…, width), which are normalised first."""
        return self.distances(F.normalize(features, dim=-1)).argmin(-1)

    def forward(self, features: Tensor, present: Tensor) -> Codes:
        """Quantise normalised ``features`` (B, M, width), with straight-through gradients.

        Loss over those that are ``present`` (B, M): ‖sg(z) − e‖² + ‖z − sg(e)‖²/4 (van den Oord et al. 2017),
        and log K − H of the usage of the K codes, without which most of them fall out of use.
        """
        features = F.normalize(features, dim=-1)
        distances = self.distances(features)
        numbers = distances.argmin(-1)
        vectors = self.embedding(numbers)
        apart = (features.detach() - vectors).square().sum(-1)
        astray = (features - vectors.detach()).square().sum(-1)
        here = present.to(features)
        near = (-SHARPNESS * distances).softmax(-1) * here[..., None]
        use = near.sum((0, 1)) / here.sum()
        uneven = (use * (use.clamp_min(1e-9) * len(use)).log()).sum()
        loss = ((apart + astray / 4) * here).sum() / here.sum() + 0.1 * uneven
        return Codes(features, numbers, features + (vectors - features).detach(), loss)
