"""The same questions with other pictures: what a generator's images are set beside."""

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
"""Positions (b,) among the triples, and the same questions with other pictures."""


def variants_of(
    triples: Triples, catalog: Catalog, seeds: Sequence[int], placebo: Variant | None = None
) -> dict[str, list[Variant]]:
    """Return draws of each variant: ``images``, ``placebo`` if given, ``noise``, ``shuffled``, ``own``."""
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
    """Return the triples whose item has a picture in ``placebo``, with it.

    A picture for the very user comes before one of the item. Raises DataError where none has any.
    """
    image = placebo.find(triples.users, triples.items)
    at = np.flatnonzero(image >= 0)
    if not len(at):
        raise DataError(
            "the placebo has a picture of none of the items asked about", remedy="Give others, or none"
        )
    features, which = encoded(placebo, image[at], encoder, device)
    return at, Triples(triples.users[at], triples.items[at], which, features, encoder)


def has_image(catalog: Catalog) -> np.ndarray:
    """(n,) bool: items whose image feature is of a picture; all, where only features are known."""
    return np.ones(len(catalog), dtype=bool) if catalog.images is None else catalog.images.present
