"""Boutique's own images: any look, drawn by the code of the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generators.images import to_pixels
from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.datasets.boutique.attributes import Attributes
    from recsim_gen.datasets.boutique.world import World


def world_of(catalog: Catalog) -> World | None:
    """Return the ground truth of a catalogue; None for real data."""
    from recsim_gen.datasets.boutique.world import ShopCatalog

    return catalog.world if isinstance(catalog, ShopCatalog) else None


def known_world(catalog: Catalog) -> World:
    """Return the ground truth of a catalogue; DataError for real data."""
    world = world_of(catalog)
    if world is None:
        raise DataError("tastes must be known, those of real people are not", remedy="Use --data boutique")
    return world


def best_look(catalog: Catalog, episode: Episode) -> Attributes:
    """Return what the person of the episode likes best in the reference's category, in the shop or not."""
    world = known_world(catalog)
    return world.best_attributes(episode.user, world.attributes(episode.reference).category)


def drawn(look: Attributes, noise: Rng) -> torch.Tensor:
    """Return (3, 64, 64) an image of the look; ``noise`` determines position and tilt."""
    from recsim_gen.datasets.boutique.drawing import render

    return to_pixels(render(look, noise.for_("render")))
