"""``ominicontrol``: FLUX with the reference as a condition whose branch has LoRA (Tan et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from generators.subjects.flux import FluxConfig, FluxSubjectGenerator, named
from recsim_gen.core.weights import read_tensors

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from generators.subjects.omini_forward import BranchLoRA, Condition
    from recsim_gen.core.randomness import Rng

FILE = "omini/subject_512.safetensors"
LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class OminiControlConfig(FluxConfig):
    """Settings, as published."""

    weights: str = "black-forest-labs/FLUX.1-schnell"  # folder (./…) of the pipeline or name on the hub
    lora: str = "Yuanshi/OminiControl"  # folder or name of omini/subject_512.safetensors
    size: int = 512  # side in pixels, also of the reference


class OminiControl(FluxSubjectGenerator):
    """Places the reference's tokens to the right of the image."""

    name = "ominicontrol"
    config_class = OminiControlConfig
    roles = ("pipeline", "omini")
    licence = LICENCE

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.family = named(self.family, LICENCE, omini=self.config.lora)

    def _pixels(self, text: str, reference: Image.Image, noise: Rng) -> torch.Tensor:
        from generators.subjects.omini_forward import ConditionedForward

        pipeline, size = self._pipeline, self.config.size
        condition = self._condition(reference, noise)
        transformer = pipeline.transformer
        transformer.forward = ConditionedForward(transformer, self._lora, condition)
        try:
            drawn: torch.Tensor = pipeline(
                prompt=text, height=size, width=size, generator=noise.torch(), **self._call
            ).images[0]
        finally:
            del transformer.forward
        return drawn

    def _condition(self, reference: Image.Image, noise: Rng) -> Condition:
        """Return the reference's latents, at positions to the right of the image that is drawn."""
        from generators.subjects.omini_forward import Condition

        pipeline, size = self._pipeline, self.config.size
        vae, device, dtype = pipeline.vae, pipeline.transformer.device, pipeline.transformer.dtype
        pixels = pipeline.image_processor.preprocess(reference.resize((size, size)), height=size, width=size)
        latents = vae.encode(pixels.to(device, vae.dtype)).latent_dist.sample(noise.for_("reference").torch())
        latents = ((latents - vae.config.shift_factor) * vae.config.scaling_factor).to(dtype)
        _, channels, height, width = latents.shape
        packed = pipeline._pack_latents(latents, 1, channels, height, width)
        ids = pipeline._prepare_latent_image_ids(1, height // 2, width // 2, device, dtype)
        ids[:, 2] += width // 2
        return Condition(packed, ids)

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import FluxPipeline

        return self.family.pipeline(FluxPipeline, device=self.device)

    @cached_property
    def _lora(self) -> BranchLoRA:
        from generators.subjects.omini_forward import BranchLoRA

        problem = "no readable LoRA of OminiControl"
        remedy = f"Put {FILE} of Yuanshi/OminiControl (licence: {LICENCE}) there"
        weights = read_tensors(self.family.folder("omini") / FILE, problem=problem, remedy=remedy)
        return BranchLoRA(self._pipeline.transformer, weights)
