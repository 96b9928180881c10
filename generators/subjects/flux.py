"""Base class of methods on FLUX: weights of a pipeline, from a folder or the hub; one image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from generators.subjects.base import BaseSubjectGenerator, Request
from recsim_gen.core.errors import SettingError

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.family import ModelFamily

NON_COMMERCIAL = "FLUX.1 [dev] Non-Commercial License"


@dataclass(frozen=True)
class FluxConfig:
    """Settings."""

    weights: str = ""  # folder (./…, /…, ~…) of the pipeline, or its name on the hub
    size: int = 1024  # side of the image in pixels
    steps: int = 30  # sampling steps, as published
    guidance: float = 3.5  # distilled guidance, an input of the model
    text_length: int = 512  # prompts are cut to this number of T5 tokens

    def __post_init__(self) -> None:
        for name in ("size", "steps", "text_length"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")


class FluxSubjectGenerator(BaseSubjectGenerator):
    """Base class of methods that use the reference and are not trained per subject.

    Subclasses implement ``_pixels``.
    """

    config_class: ClassVar[type[Any]] = FluxConfig
    roles: tuple[str, ...] = ("pipeline",)
    licence: ClassVar[str] = NON_COMMERCIAL

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.family = named(self.family, self.licence, pipeline=self.config.weights)

    def draw_each(self, requests: Sequence[Request]) -> list[torch.Tensor]:
        """Draw one image at a time, each with all randomness from its own stream."""
        import torch

        from recsim_gen.core.training_loop import seeded

        pictures = []
        for prompt, reference, noise in requests:
            text = self.words(prompt)
            with torch.no_grad(), seeded(noise.for_("global")):
                pixels = self._pixels(text, reference.convert("RGB"), noise.for_("pipeline"))
            pictures.append(pixels.float().cpu().clamp(0, 1))
        return pictures

    def _pixels(self, text: str, reference: Image.Image, noise: Rng) -> torch.Tensor:
        """Return (3, H, W) RGB in [0, 1], of any type and on any device."""
        raise NotImplementedError

    @cached_property
    def _pipeline(self) -> Any:
        raise NotImplementedError

    @property
    def _call(self) -> dict[str, Any]:
        """Return the arguments of every call."""
        config = self.config
        return {
            "num_inference_steps": config.steps,
            "guidance_scale": config.guidance,
            "max_sequence_length": config.text_length,
            "output_type": "pt",
        }


def named(family: ModelFamily, licence: str, **names: str) -> ModelFamily:
    """Return the family with these models in some roles, and their licence for messages."""
    licences = {**family.licences, **dict.fromkeys(names.values(), licence)}
    return replace(family.with_models(**names), licences=licences)


def heads(attn: Any, x: torch.Tensor) -> torch.Tensor:
    """Return (1, n, heads, d) of ``x`` (1, n, heads · d), split as in FLUX's attention."""
    apart: torch.Tensor = x.unflatten(-1, (-1, attn.head_dim))
    return apart
