"""Variants: the same queries with other images, as controls for the generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog
from recsim_gen.datasets.image_sets import ImageSet
from recsim_gen.judging.controls import noise_features, shuffled_rows
from recsim_gen.judging.queries import MODALITY, Triples, encoded

Variant = tuple[np.ndarray, Triples]
"""Positions (b,) among the triples, and their queries with other images."""


def variants_of(
    triples: Triples, catalog: Catalog, seeds: Sequence[int], placebo: Variant | None = None
) -> dict[str, list[Variant]]:
    """Return the draws of each variant: ``images``, ``noise``, ``shuffled``, ``own``, maybe ``placebo``."""
    x, everyone, present = catalog.features[MODALITY], np.arange(len(triples)), has_image(catalog)
    own = replace(triples, which=triples.items, features=x)
    noise = [noise_features(x, present, Rng(seed)) for seed in seeds]
    shuffled = [shuffled_rows(present, Rng(seed))[triples.items] for seed in seeds]
    return {
        "images": [(everyone, triples)],
        **({} if placebo is None else {"placebo": [placebo]}),
        "noise": [(everyone, replace(own, features=z)) for z in noise],
        "shuffled": [(everyone, replace(own, which=rows)) for rows in shuffled],
        "own": [(everyone, own)],
    }


def placebo_of(triples: Triples, placebo: ImageSet, encoder: str, device: str = "cpu") -> Variant:
    """Return the triples whose item has an image in ``placebo``, with that image.

    An image for the same user is preferred to one for the item. Raises DataError if no triple has one.
    """
    image = placebo.find(triples.users, triples.items)
    at = np.flatnonzero(image >= 0)
    if not len(at):
        raise DataError(
            "the placebo has no picture of any of the judged items", remedy="Give others, or none"
        )
    features, which = encoded(placebo, image[at], encoder, device)
    return at, Triples(triples.users[at], triples.items[at], which, features, encoder)


def has_image(catalog: Catalog) -> np.ndarray:
    """Return (n,) bool: items whose image feature comes from an image; all if only features are known."""
    return np.ones(len(catalog), dtype=bool) if catalog.images is None else catalog.images.present
