"""``sd``: text to image from the reference's caption, the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from generators.base import BaseGenerator
from generators.prompts import check_template, prompt_of
from generators.sampler import Sampler

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


@dataclass(frozen=True)
class StableDiffusionConfig:
    """Settings."""

    prompt: str = "{caption}"  # of the reference; {title} and {category} as well

    def __post_init__(self) -> None:
        check_template(self.prompt)


class StableDiffusion(BaseGenerator):
    """Stable Diffusion (Rombach et al. 2022) of the family, without personalisation."""

    name = "sd"
    config_class = StableDiffusionConfig
    roles = ("diffusion",)

    @cached_property
    def sampler(self) -> Sampler:
        """The family's, loaded when it is first needed."""
        return Sampler(self.family, self.device)

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """The picture of the reference's prompt. Raises DataError where it has no text."""
        text = prompt_of(self.catalog, episode.reference, self.config.prompt)
        return self.sampler.draw(self.sampler.states([text]), [noise])[0]
