"""LaVIT's dynamic visual tokenizer: features of an image's patches to discrete tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from generators.lavit.codebook import Codebook
from generators.lavit.merger import Merger
from generators.lavit.selector import Selector, keep


@dataclass(frozen=True)
class Sizes:
    """Sizes of tokenizer and decoder: ``patches`` per image, and the layers."""

    patches: int
    width: int
    heads: int
    inner: int
    blocks: int
    codes: int
    code_width: int


class Tokens(NamedTuple):
    """Tokens of B images, in the order of their patches, padded on the right.

    ``numbers`` (B, M) codes; ``vectors`` (B, M, c) of the codes, ``features`` (B, M, c) before quantisation;
    ``present`` (B, M) bool, False for padding; ``share`` scalar, share of kept patches; ``loss`` scalar, of
    the codebook.
    """

    numbers: Tensor
    vectors: Tensor
    features: Tensor
    present: Tensor
    share: Tensor
    loss: Tensor


class Tokenizer(nn.Module):
    """Selector, merger and codebook, with the parameter names of ``tokenizer_encoder.bin``."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.token_predictor = Selector(sizes.width)
        self.causal_encoder = Merger(sizes.width, sizes.heads, sizes.blocks, sizes.inner)
        self.quantize = Codebook(sizes.codes, sizes.code_width)
        self.encode_task_layer = nn.Sequential(
            nn.Linear(sizes.width, sizes.width), nn.Tanh(), nn.Linear(sizes.width, sizes.code_width)
        )

    def forward(self, features: Tensor, noise: torch.Generator) -> Tokens:
        """Return the tokens of ``features`` (B, N, width); the kept patches are sampled with ``noise``."""
        kept = keep(self.token_predictor(features), noise)
        merged = self.causal_encoder(features, kept)
        is_kept = kept.detach() > 0.5
        order = is_kept.int().argsort(dim=1, descending=True, stable=True)[:, : int(is_kept.sum(1).max())]
        present, weight = is_kept.gather(1, order), kept.gather(1, order)
        latent = self.encode_task_layer(merged.gather(1, order[..., None].expand(-1, -1, merged.shape[-1])))
        codes = self.quantize(latent, present)
        vectors, latent = (x * weight[..., None] for x in (codes.vectors, codes.features))
        return Tokens(codes.numbers, vectors, latent, present, kept.mean(), codes.loss)
