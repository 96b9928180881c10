"""``original`` (ORI): the reference's own picture, by which nothing may change."""

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

    size: int = 0  # pixels a side; 0: each as it is, so that its own picture gives exactly ΔR = 0


class Original(BaseGenerator):
    """Gives the reference's own picture, whatever the seed."""

    name = "original"
    config_class = OriginalConfig

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """The picture of the reference. Raises DataError where it has none."""
        return to_pixels(image_of(self.catalog, episode.reference), self.config.size)
