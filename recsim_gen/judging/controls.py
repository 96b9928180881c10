"""Features that no generator made, to set a generator's beside: noise, and other items' pictures."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng


def noise_features(x: np.ndarray, present: np.ndarray, rng: Rng) -> np.ndarray:
    """(n, d) float32: a random feature per item, of the catalogue's mean, spread and length.

    Normal with the mean and the standard deviation of each dimension of ``x[present]``, scaled to the
    length of a random row of it. One per item whichever items are asked about, so that results do not
    depend on which these are. Raises DataError where ``present`` (n,) has no item.
    """
    rows = _present(x, present, 1)
    draw = rng.for_("noise").numpy()
    noise = draw.standard_normal(x.shape, dtype=np.float32) * rows.std(0) + rows.mean(0)
    length = np.linalg.norm(rows, axis=1)[draw.integers(len(rows), size=len(x))]
    own = np.linalg.norm(noise, axis=1)
    scale = np.divide(length, own, out=np.zeros_like(length), where=own > 0)
    return (noise * scale[:, None]).astype(np.float32)


def shuffled_rows(present: np.ndarray, rng: Rng) -> np.ndarray:
    """(n,) rows: for each item another one that has a picture, each used once among those that have one.

    One random cycle, so no item gets its own. Raises DataError unless two items have a picture.
    """
    _present(present, present, 2)
    draw = rng.for_("shuffled").numpy()
    cycle = draw.permutation(np.flatnonzero(present))
    rows = draw.choice(cycle, size=len(present))  # items without a picture take any
    rows[cycle] = np.roll(cycle, 1)
    return rows


def _present(x: np.ndarray, present: np.ndarray, least: int) -> np.ndarray:
    if len(x) != len(present) or present.sum() < least:
        raise DataError(f"at least {least} of {len(x)} items must have a picture, got {present.sum()}")
    return x[present]
