"""Control features to compare generated images with: random noise, and images of other items."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng


def noise_features(x: np.ndarray, present: np.ndarray, rng: Rng) -> np.ndarray:
    """Return a random feature (n, d) float32 per item, with the mean, spread and length of the catalogue's.

    Normal with the mean and standard deviation of each dimension of ``x[present]``, scaled to the length of a
    random row of it. All n items get a feature, so results do not depend on which of them are asked about.
    Raises DataError if no item is ``present`` (n,).
    """
    rows = _present(x, present, 1)
    draw = rng.for_("noise").numpy()
    noise = draw.standard_normal(x.shape, dtype=np.float32) * rows.std(0) + rows.mean(0)
    length = np.linalg.norm(rows, axis=1)[draw.integers(len(rows), size=len(x))]
    own = np.linalg.norm(noise, axis=1)
    scale = np.divide(length, own, out=np.zeros_like(length), where=own > 0)
    return (noise * scale[:, None]).astype(np.float32)


def shuffled_rows(present: np.ndarray, rng: Rng) -> np.ndarray:
    """Return (n,) rows: for each item another item with an image, each used once among items with images.

    The assignment is one random cycle, so no item gets its own image. Raises DataError if fewer than two
    items have an image.
    """
    _present(present, present, 2)
    draw = rng.for_("shuffled").numpy()
    cycle = draw.permutation(np.flatnonzero(present))
    rows = draw.choice(cycle, size=len(present))  # items without an image take any
    rows[cycle] = np.roll(cycle, 1)
    return rows


def _present(x: np.ndarray, present: np.ndarray, least: int) -> np.ndarray:
    """Return the rows of items with an image. Raises DataError for fewer than ``least``."""
    if len(x) != len(present) or present.sum() < least:
        raise DataError(f"at least {least} of {len(x)} items must have a picture, got {present.sum()}")
    return x[present]
