"""Ceilings (Boutique only): what the user likes best in the reference's category.

``oracle`` is drawn by the shop: if it does not move ΔR, the ranker does not see taste in pictures, and no
generator can. ``oracle_sd`` is its caption, drawn by the family: the difference is what drawing costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from generators.base import BaseGenerator, SamplingGenerator, Self
from generators.sampler import Conditions, Sampler
from generators.shop import best_look, drawn, known_world

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


class OfKnownWorld(BaseGenerator):
    """A generator that is told the truth."""

    config_class = OracleConfig

    def fit(
        self: Self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Self:
        """Take the catalogue. Raises DataError where tastes are not known."""
        known_world(catalog)
        return super().fit(catalog, episodes, rng=rng)


class Oracle(OfKnownWorld):
    """Draws argmax V(u, look) over all looks of the category, in the shop or not."""

    name = "oracle"

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """(3, 64, 64) the best look for ``episode.user``."""
        return drawn(best_look(self.catalog, episode), noise)


class OracleSD(OfKnownWorld, SamplingGenerator):
    """Draws the caption of that look, as the shop writes it of its items, by the family's diffusion model."""

    name = "oracle_sd"
    roles = ("diffusion",)

    def conditions(self, episode: Episode) -> Conditions:
        """The caption, in one of the shop's wordings."""
        caption = best_look(self.catalog, episode).caption(episode.reference)
        return Conditions(self.ready().states([caption])[0], text=caption)

    def ready(self) -> Sampler:
        """The family's, loaded when it is first needed."""
        return self._sampler

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)
