"""``sd``: text to image from the reference's caption, without personalisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from generators.base import SamplingGenerator
from generators.prompts import check_template, prompt_of
from generators.sampler import Conditions, Sampler

if TYPE_CHECKING:
    from recsim_gen.core.types import Episode


@dataclass(frozen=True)
class StableDiffusionConfig:
    """Settings."""

    prompt: str = "{caption}"  # template; fields {caption}, {title} and {category} of the reference

    def __post_init__(self) -> None:
        check_template(self.prompt)


class StableDiffusion(SamplingGenerator):
    """Stable Diffusion (Rombach et al. 2022) of the family, without personalisation."""

    name = "sd"
    config_class = StableDiffusionConfig
    roles = ("diffusion",)

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    def ready(self) -> Sampler:
        """Return the family's sampler, loaded on first use."""
        return self._sampler

    def conditions(self, episode: Episode) -> Conditions:
        """Return the reference's prompt. Raises DataError if it has no text."""
        text = prompt_of(self.catalog, episode.reference, self.config.prompt)
        return Conditions(self._sampler.states([text])[0], text=text)
