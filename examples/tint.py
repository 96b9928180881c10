"""A generator of one's own, in one file: the reference in the colours of the history.

It needs no line in the library. With this folder on the path (``PYTHONPATH=examples``)::

    recsim-gen evaluate --gen original,tint:Tint,sd --metrics judged --baseline original

No model is asked and nothing is learned: it is what any other must beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.base import BaseGenerator
from generators.denoising import with_images
from generators.images import image_of, to_pixels
from recsim_gen.core.errors import DataError, SettingError

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


@dataclass(frozen=True)
class TintConfig:
    """Settings of the tint."""

    strength: float = 0.5  # 0: the reference as it is, 1: the mean and spread of the history's colours

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise SettingError(f"strength must be 0 to 1, got {self.strength:g}")


class Tint(BaseGenerator):
    """Moves mean and spread of each colour channel towards those of the history's pictures.

    (Reinhard et al. 2001, "Color transfer between images", in RGB.)
    """

    name = "tint:Tint"
    config_class = TintConfig

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """Return the image, without randomness. Raises DataError if history or reference has no image."""
        import torch

        rows = with_images(self.catalog, episode.history)
        if not rows or not with_images(self.catalog, [episode.reference]):
            raise DataError(
                f"episode {episode.id}: pictures of the reference and of its history are wanted",
                remedy="Leave it out",
            )
        own, *liked_ones = (to_pixels(image_of(self.catalog, row)) for row in (episode.reference, *rows))
        liked = torch.cat([one.flatten(1) for one in liked_ones], dim=1)
        mean, spread = own.mean((1, 2), keepdim=True), own.std((1, 2), keepdim=True)
        moved = (own - mean) / (spread + 1e-6) * liked.std(1)[:, None, None] + liked.mean(1)[:, None, None]
        return (own + self.config.strength * (moved - own)).clamp(0, 1)
