"""Weights of an IP-Adapter, with the names of ``ip-adapter_sd15.safetensors``.

``image_proj.proj`` and ``image_proj.norm`` map an image's vector to 4 tokens (for the plus type see
`resampler`); ``ip_adapter.{k}.to_k_ip`` and ``.to_v_ip`` attend to them in the cross-attentions, k = 1, 3, 5…
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from recsim_gen.core.errors import DataError
from recsim_gen.encoders.weights import quiet_diffusers

if TYPE_CHECKING:
    from recsim_gen.core.randomness import Rng

TOKENS = 4  # tokens per image, as in diffusers for this type of adapter
FILE = "models/ip-adapter_sd15.safetensors"


def published(folder: Path, name: str = FILE) -> dict[str, torch.Tensor]:
    """Load the adapter from a folder with the layout of the published repository.

    DataError if it is broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / name
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        remedy = f"Put {name} of h94/IP-Adapter (licence: Apache-2.0) there"
        raise DataError(f"no readable IP-Adapter: {error}", file=file, remedy=remedy) from error


def untrained(unet: Any, width: int, rng: Rng) -> dict[str, torch.Tensor]:
    """Return initial weights for image vectors of ``width``: attention to images starts like that to text."""
    from recsim_gen.core.training_loop import seeded

    d = unet.config.cross_attention_dim
    with seeded(rng):
        parts = {"proj": torch.nn.Linear(width, TOKENS * d), "norm": torch.nn.LayerNorm(d)}
    weights = {f"image_proj.{p}.{n}": x.detach() for p, m in parts.items() for n, x in m.named_parameters()}
    return {**weights, **text_attention(unet)}


def check_adapter(unet: Any, weights: Mapping[str, torch.Tensor], width: int) -> None:
    """Raise DataError unless the weights fit this UNet and image vectors of ``width``."""
    d = unet.config.cross_attention_dim
    expected: dict[str, tuple[int, ...]] = {
        "image_proj.proj.weight": (TOKENS * d, width),
        "image_proj.proj.bias": (TOKENS * d,),
        "image_proj.norm.weight": (d,),
        "image_proj.norm.bias": (d,),
    }
    check_shapes(weights, {**expected, **{name: tuple(x.shape) for name, x in text_attention(unet).items()}})


def check_shapes(weights: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise DataError unless the weights of an adapter have these names and shapes."""
    shapes = {name: tuple(x.shape) for name, x in weights.items()}
    for name, shape in {**shapes, **expected}.items():
        if shapes.get(name) != expected.get(name):
            got = f"got {shapes[name]}" if name in shapes else "got none"
            want = f"must be {shape}" if name in expected else "is not wanted"
            raise DataError(
                f"IP-Adapter: {name} {want}, {got}",
                remedy="Was it made for another image encoder or another diffusion model?",
            )


def install(pipeline: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Install the adapter in the pipeline, replacing any other; the pipeline must not be shared."""
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, x in weights.items():
        part, _, key = name.partition(".")
        parts[part][key] = x.clone()
    with quiet_diffusers(), torch.random.fork_rng(devices=[]):  # diffusers initialises a resampler randomly
        pipeline.load_ip_adapter(parts, subfolder="", weight_name="", image_encoder_folder=None)


def trainable(unet: Any) -> torch.nn.Module:
    """Return the adapter's modules in a UNet as one module, in float32."""
    processors = [m.processor for m in _attentions(unet).values()]
    return torch.nn.ModuleList([unet.encoder_hid_proj, *processors]).requires_grad_(True).float()


def installed(unet: Any) -> dict[str, torch.Tensor]:
    """Return the weights of the adapter in a UNet, on the CPU."""
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    parts = {"proj": projection.image_embeds, "norm": projection.norm}
    weights = {f"image_proj.{p}.{n}": x for p, m in parts.items() for n, x in m.named_parameters()}
    return {name: on_cpu(x) for name, x in weights.items()} | image_attention(unet)


def text_attention(unet: Any) -> dict[str, torch.Tensor]:
    """Return a UNet's attention to text with an adapter's names: the initial attention to images."""
    weights = {}
    for k, module in _attentions(unet).items():
        weights[f"ip_adapter.{k}.to_k_ip.weight"] = module.to_k.weight.detach().clone()
        weights[f"ip_adapter.{k}.to_v_ip.weight"] = module.to_v.weight.detach().clone()
    return weights


def image_attention(unet: Any) -> dict[str, torch.Tensor]:
    """Return the adapter's attention to images in a UNet, on the CPU."""
    weights = {}
    for k, module in _attentions(unet).items():
        weights[f"ip_adapter.{k}.to_k_ip.weight"] = on_cpu(module.processor.to_k_ip[0].weight)
        weights[f"ip_adapter.{k}.to_v_ip.weight"] = on_cpu(module.processor.to_v_ip[0].weight)
    return weights


def on_cpu(x: torch.Tensor) -> torch.Tensor:
    """Return a copy in float32, without gradient."""
    return x.detach().float().cpu().clone()


def _attentions(unet: Any) -> dict[int, Any]:
    """Return {k: cross-attention}, k odd, in diffusers' numbering."""
    names = [n for n in unet.attn_processors if n.endswith("attn2.processor")]
    return {2 * i + 1: unet.get_submodule(n.removesuffix(".processor")) for i, n in enumerate(names)}
