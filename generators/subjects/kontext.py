"""``kontext``: FLUX.1 Kontext, conditioned on the reference and the prompt (Labs et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from generators.subjects.flux import FluxConfig, FluxSubjectGenerator

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.randomness import Rng


@dataclass(frozen=True)
class KontextConfig(FluxConfig):
    """Settings, as published except for the negative prompt.

    That has no effect at its true_cfg_scale of 1.
    """

    weights: str = "black-forest-labs/FLUX.1-Kontext-dev"  # folder (./…) of the pipeline or name on the hub
    guidance: float = 5.0  # distilled guidance, an input of the model
    shown: int = 512  # side of the reference in pixels, before the model resizes it
    resize: bool = True  # resize the reference to a size of the model's training, about a megapixel


class Kontext(FluxSubjectGenerator):
    """Uses one reference in addition to the prompt."""

    name = "kontext"
    config_class = KontextConfig

    def _pixels(self, text: str, reference: Image.Image, noise: Rng) -> torch.Tensor:
        config = self.config
        drawn: torch.Tensor = self._pipeline(
            image=reference.resize((config.shown, config.shown)),
            prompt=text,
            height=config.size,
            width=config.size,
            max_area=config.size**2,
            generator=noise.torch(),
            _auto_resize=config.resize,
            **self._call,
        ).images[0]
        return drawn

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import FluxKontextPipeline

        return self.family.pipeline(FluxKontextPipeline, device=self.device)
