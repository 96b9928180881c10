"""Oracles (Boutique only): what the user truly likes best in the reference's category.

``oracle`` is drawn by the shop: if it does not improve ΔR, the ranker does not recognise taste in images, and
no generator can improve it. ``oracle_sd`` is its caption, drawn by the family: the difference is the loss due
to drawing.
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
    """No settings."""


class OfKnownWorld(BaseGenerator):
    """Base class of generators that know the true preferences."""

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
        """Set the catalogue. Raises DataError if true preferences are unknown."""
        known_world(catalog)
        return super().fit(catalog, episodes, rng=rng)


class Oracle(OfKnownWorld):
    """Draws argmax V(u, look) over all looks of the category, whether in the shop or not."""

    name = "oracle"

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """Return (3, 64, 64) the best look for ``episode.user``."""
        return drawn(best_look(self.catalog, episode), noise)


class OracleSD(OfKnownWorld, SamplingGenerator):
    """Draws the caption of that look, worded like the shop's, with the family's diffusion model."""

    name = "oracle_sd"
    roles = ("diffusion",)

    def conditions(self, episode: Episode) -> Conditions:
        """Return the caption, in one of the shop's wordings."""
        caption = best_look(self.catalog, episode).caption(episode.reference)
        return Conditions(self.ready().states([caption])[0], text=caption)

    def ready(self) -> Sampler:
        """Return the family's sampler, loaded on first use."""
        return self._sampler

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)
