"""Pictures whose effect is known: what a judge must see in Boutique before it may judge anything.

For each test episode (user u, reference i) pictures are drawn in the reference's category: the
``oracle`` (what u likes best there), the ``opposite`` (what u likes least), the ``placebo`` (the
reference's own look, drawn again) and ``random`` looks. The true change of utility of a picture is
V(u, its look) − V(u, the reference's look).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    from recsim_gen.core.protocols import ImageEncoder
    from recsim_gen.core.types import Dataset, Episode
    from recsim_gen.datasets.boutique.attributes import Attributes
    from recsim_gen.datasets.boutique.world import Boutique

DRAWN = ("oracle", "opposite", "placebo", "random")


@dataclass(frozen=True, eq=False)
class KnownImages:
    """Pictures of one kind: ``users``, ``items`` (B,) rows, ``features`` (B, d), ``utility`` (B,) change."""

    users: np.ndarray
    items: np.ndarray
    features: np.ndarray
    utility: np.ndarray


def boutique_of(dataset: Dataset) -> Boutique:
    """The data set as a Boutique; DataError where its truth is not known."""
    from recsim_gen.datasets.boutique.world import Boutique

    if not isinstance(dataset, Boutique):
        raise DataError(f"tastes must be known, {dataset.name!r} is real", remedy="Use --data boutique")
    return dataset


def draw_images(
    dataset: Boutique, kind: str, encoder: ImageEncoder, rng: Rng, *, draws: int = 1, batch_size: int = 256
) -> KnownImages:
    """Pictures of ``kind`` (one of `DRAWN`) for every test episode, ``draws`` each, encoded."""
    from recsim_gen.datasets.boutique.attributes import codes_of
    from recsim_gen.datasets.boutique.drawing import render

    episodes = [(e, draw) for e in dataset.episodes for draw in range(draws)]
    looks = [_look(dataset, kind, e, rng.for_(kind, e.id, draw)) for e, draw in episodes]
    features = []
    for start in bar(range(0, len(episodes), batch_size), f"drawing {kind}"):
        part = slice(start, start + batch_size)
        pictures = [
            render(look, rng.for_("render", kind, e.id, draw))
            for look, (e, draw) in zip(looks[part], episodes[part], strict=True)
        ]
        features.append(encoder.encode_images(pictures))
    users = np.array([e.user for e, _ in episodes])
    items = np.array([e.reference for e, _ in episodes])
    before = dataset.utility(users, dataset.world.codes[items])
    change = dataset.utility(users, codes_of(looks)) - before
    return KnownImages(users, items, np.concatenate(features), change)


def _look(dataset: Boutique, kind: str, episode: Episode, rng: Rng) -> Attributes:
    from recsim_gen.datasets.boutique.attributes import Attributes, all_codes

    world = dataset.world
    own = world.attributes(episode.reference)
    if kind == "oracle":
        return world.best_attributes(episode.user, own.category)
    if kind == "opposite":
        return world.worst_attributes(episode.user, own.category)
    if kind == "random":
        codes = all_codes(own.category)
        return Attributes.of(codes[rng.numpy().integers(len(codes))])
    return own
