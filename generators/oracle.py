"""``oracle`` (Boutique only): what the user likes best in the reference's category, the ceiling.

If it does not move ΔR, the ranker does not see taste in pictures, and no generator can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.base import BaseGenerator
from generators.shop import drawn, known_world

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from recsim_gen.core.protocols import Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode


@dataclass(frozen=True)
class OracleConfig:
    """Nothing to set."""


class Oracle(BaseGenerator):
    """Draws argmax V(u, look) over all looks of the category, in the shop or not."""

    name = "oracle"
    config_class = OracleConfig

    def fit(
        self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Oracle:
        """Take the catalogue. Raises DataError where tastes are not known."""
        known_world(catalog)
        return super().fit(catalog, episodes, rng=rng)

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """(3, 64, 64) the best look for ``episode.user``."""
        world = known_world(self.catalog)
        category = world.attributes(episode.reference).category
        return drawn(world.best_attributes(episode.user, category), noise)
