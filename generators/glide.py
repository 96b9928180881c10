"""``glide``: text to image by GLIDE (Nichol et al. 2022), without personalisation.

RAGAR lists it as a baseline without saying how it was prompted or at which resolution; unlike the other
baselines it cannot be based on SD-1.5. Here it draws the reference's caption.
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

    prompt: str = "{caption}"  # template; fields {caption}, {title} and {category} of the reference
    upsampler: Literal["learned", "bilinear"] = "learned"  # bilinear: without the second net, as a control

    def __post_init__(self) -> None:
        check_template(self.prompt)


class GLIDE(BatchedGenerator):
    """The family's GLIDE, with its own size, steps and guidance."""

    name = "glide"
    config_class = GLIDEConfig
    roles = ("glide",)

    def words(self, episode: Episode) -> str:
        """Return the prompt."""
        return prompt_of(self.catalog, episode.reference, self.config.prompt)

    def draw_batch(self, requests: Sequence[tuple[Episode, Rng]]) -> torch.Tensor:
        """Return the images of both nets."""
        texts, noise = [self.words(episode) for episode, _ in requests], [stream for _, stream in requests]
        return self.family.glide(device=self.device).draw(texts, noise, upsampler=self.config.upsampler)
