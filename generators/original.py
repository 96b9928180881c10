"""``original`` (ORI): the reference's own image, which must not change any rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.base import BaseGenerator
from generators.images import image_of, to_pixels

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


@dataclass(frozen=True)
class OriginalConfig:
    """Settings."""

    size: int = 0  # side in pixels; 0: unchanged, so that it gives exactly ΔR = 0


class Original(BaseGenerator):
    """Returns the reference's own image, whatever the seed."""

    name = "original"
    config_class = OriginalConfig

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """Return the image of the reference. Raises DataError if it has none."""
        return to_pixels(image_of(self.catalog, episode.reference), self.config.size)
