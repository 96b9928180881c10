"""Weights of an IP-Adapter Plus, with the names of ``ip-adapter-plus_sd15.safetensors``.

``image_proj`` is a resampler: a few learned queries attend to all patches of an image. The UNet's attention
to its output is that of the plain adapter (`generators.adapter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from generators.adapter import check_shapes, image_attention, on_cpu, text_attention
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    from recsim_gen.core.randomness import Rng

FILE = "models/ip-adapter-plus_sd15.safetensors"
HEAD = 64  # channels per head, as in diffusers
LAYER = {
    "ln0": "0.norm1",
    "ln1": "0.norm2",
    "attn.to_q": "0.to_q",
    "attn.to_out.0": "0.to_out",
    "ff.0": "1.0",
    "ff.1.net.0.proj": "1.1",
    "ff.1.net.2": "1.3",
}
"""Names of a layer's parts in diffusers and in the file, where keys and values are one matrix ``0.to_kv``."""


def untrained(unet: Any, width: int, rng: Rng, *, hidden: int, queries: int) -> dict[str, torch.Tensor]:
    """Return initial weights for patches of ``width``: attention to images starts like that to text.

    ``hidden`` channels, with one head per 64 (rounded up), and ``queries`` tokens per image.
    """
    from recsim_gen.core.training_loop import seeded

    with seeded(rng):
        made = _resampler(width, unet.config.cross_attention_dim, hidden, queries, max(1, hidden // HEAD))
    return {**_named(made), **text_attention(unet)}


def check_resampler(unet: Any, weights: Mapping[str, torch.Tensor], width: int) -> None:
    """Raise DataError unless the weights fit this UNet and patches of ``width``."""
    try:
        _, queries, hidden = weights["image_proj.latents"].shape
        heads = len(weights["image_proj.layers.0.0.to_q.weight"]) // HEAD
    except (KeyError, ValueError) as error:
        raise DataError(
            "IP-Adapter Plus: image_proj.latents (1, queries, channels) and layers of a resampler are "
            "wanted, got none",
            remedy="Is it an adapter of another kind?",
        ) from error
    with torch.device("meta"):
        own = _resampler(width, unet.config.cross_attention_dim, hidden, queries, heads)
        expected = {f"image_proj.{n}": tuple(x.shape) for n, x in _parts(own).items()}
    check_shapes(weights, expected | {name: tuple(x.shape) for name, x in text_attention(unet).items()})


def installed(unet: Any) -> dict[str, torch.Tensor]:
    """Return the weights of the adapter in a UNet, on the CPU."""
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    return {**_named(projection), **image_attention(unet)}


def _resampler(width: int, out: int, hidden: int, queries: int, heads: int) -> torch.nn.Module:
    from diffusers.models.embeddings import IPAdapterPlusImageProjection

    module: torch.nn.Module = IPAdapterPlusImageProjection(
        embed_dims=width,
        output_dims=out,
        hidden_dims=hidden,
        heads=heads,
        num_queries=queries,
    )
    return module


def _named(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {f"image_proj.{name}": on_cpu(x) for name, x in _parts(module).items()}


def _parts(module: Any) -> dict[str, torch.Tensor]:
    """Return the parameters with their names in the file."""
    parts = {n: x for n, x in module.named_parameters() if not n.startswith("layers.")}
    for k, layer in enumerate(module.layers):
        own = dict(layer.named_parameters())
        keys_values = [own.pop(f"attn.to_{part}.weight") for part in ("k", "v")]
        parts[f"layers.{k}.0.to_kv.weight"] = torch.cat(keys_values)
        for name, x in own.items():
            part, _, kind = name.rpartition(".")
            parts[f"layers.{k}.{LAYER[part]}.{kind}"] = x
    return parts
