"""``glide``: text to image by GLIDE (Nichol et al. 2022), the same for everybody.

RAGAR names it as a baseline and says neither how it was prompted nor at what resolution; it cannot have
had SD-1.5 inside, as the others there. Here it draws the reference's caption, without personalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from generators.base import BatchedGenerator
from generators.prompts import check_template, prompt_of

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


@dataclass(frozen=True)
class GLIDEConfig:
    """Settings."""

    prompt: str = "{caption}"  # of the reference; {title} and {category} as well
    upsampler: Literal["learned", "bilinear"] = "learned"  # bilinear: the base's picture, enlarged: a control

    def __post_init__(self) -> None:
        check_template(self.prompt)


class GLIDE(BatchedGenerator):
    """The family's GLIDE, at its own size and with its own steps and guidance."""

    name = "glide"
    config_class = GLIDEConfig
    roles = ("glide",)

    def words(self, episode: Episode) -> str:
        """The prompt."""
        return prompt_of(self.catalog, episode.reference, self.config.prompt)

    def draw_batch(self, requests: Sequence[tuple[Episode, Rng]]) -> torch.Tensor:
        """By both nets."""
        texts, noise = [self.words(episode) for episode, _ in requests], [stream for _, stream in requests]
        return self.family.glide(device=self.device).draw(texts, noise, upsampler=self.config.upsampler)
