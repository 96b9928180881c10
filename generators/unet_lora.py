"""LoRA (Hu et al. 2022) on the attention of a diffusion model's UNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recsim_gen.core.errors import DataError
from recsim_gen.core.protocols import ExportedPart
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import seeded

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def install(unet: Any, rank: int, alpha: int, rng: Rng) -> dict[str, nn.Parameter]:
    """Add LoRA of float32 to a UNet, and freeze the rest; return its parameters by name.

    Initially it adds nothing: the UNet's output is bit-identical.
    """
    from peft import LoraConfig

    with seeded(rng):
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=[*ATTENTION]))
    learned = {name: x for name, x in unet.named_parameters() if x.requires_grad}
    for x in learned.values():
        x.data = x.data.float()
    return learned


@torch.no_grad()
def restore(learned: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Copy ``weights`` into the result of `install`. Raises DataError for other names or shapes."""
    expected = {name: tuple(x.shape) for name, x in learned.items()}
    got = {name: tuple(x.shape) for name, x in weights.items()}
    if expected != got:
        name = min(dict(expected.items() ^ got.items()))
        raise DataError(
            f"weights {name!r} of LoRA on the UNet must be {expected.get(name)}, got {got.get(name)}",
            remedy="Were they learned with other models or settings? Train again",
        )
    for name, parameter in learned.items():
        parameter.copy_(weights[name])


def write_lora(unet: Any, folder: Path) -> ExportedPart:
    """Write the LoRA of `install`, with rank and alpha, for diffusers' ``load_lora_weights``."""
    from diffusers import StableDiffusionPipeline
    from peft import get_peft_model_state_dict

    name = "unet_lora"
    StableDiffusionPipeline.save_lora_weights(
        folder / name,
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
    return ExportedPart(
        name,
        "LoRA of the diffusion model's UNet: what it learned from pairs of pictures that a judge ordered",
        f'pipeline.load_lora_weights("{name}")',
    )


@contextmanager
def without(unet: Any) -> Iterator[None]:
    """Context in which the UNet is as before `install`."""
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()
