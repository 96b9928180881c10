"""How far a set of pictures lies from a set of real ones: Fréchet distance and CMMD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.vectors import unit

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import ImageEncoder
    from recsim_gen.metrics.rows import Rows

SIGMA, SCALE = 10.0, 1000.0  # Jayasumana et al., CVPR 2024, Sec. 5
BLOCK = 2048


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """|μx − μy|² + Tr(Σx + Σy − 2 (Σx Σy)^½) ≥ 0 of features ``x`` (n, d) and ``y`` (m, d).

    Heusel et al., NeurIPS 2017. FID is this on InceptionV3's features; with other features it is
    another number. Biased upwards where n or m is not far above d. Raises DataError for fewer than two rows.
    """
    _check(x, y, 2)
    x, y = x.astype(np.float64), y.astype(np.float64)
    apart = x.mean(0) - y.mean(0)
    sx, sy = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    # Tr (Σx Σy)^½ is the sum of the roots of its eigenvalues, which are real and ≥ 0.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(sx @ sy).real, 0)).sum()
    return float(max(0.0, apart @ apart + np.trace(sx) + np.trace(sy) - 2 * roots))


def cmmd(x: np.ndarray, y: np.ndarray) -> float:
    """1000 · MMD² with a Gaussian kernel of σ 10 on unit features ``x`` (n, d) and ``y`` (m, d).

    Jayasumana et al., CVPR 2024; means over all pairs, each with itself included, as published.
    Published numbers are of CLIP ViT-L/14 at 336 pixels. 0 for equal sets.
    """
    _check(x, y, 1)
    x, y = unit(x, np.float64), unit(y, np.float64)
    return float(SCALE * (_kernel_mean(x, x) + _kernel_mean(y, y) - 2 * _kernel_mean(x, y)))


def _kernel_mean(x: np.ndarray, y: np.ndarray) -> float:
    """Mean of exp(−|a − b|² / 2σ²) over all pairs of rows, in blocks."""
    square = (x**2).sum(1)[:, None], (y**2).sum(1)
    total = 0.0
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        distance = square[0][part] + square[1] - 2 * x[part] @ y.T
        total += float(np.exp(-np.maximum(distance, 0) / (2 * SIGMA**2)).sum())
    return total / (len(x) * len(y))


def _check(x: np.ndarray, y: np.ndarray, least: int) -> None:
    if min(len(x), len(y)) < least or x.ndim != 2 or x.shape[1:] != y.shape[1:]:
        raise DataError(
            f"two sets of at least {least} features of one width are wanted, got {x.shape}, {y.shape}"
        )


def set_distances(rows: Rows, encoder: ImageEncoder, name: str) -> pd.DataFrame:
    """CMMD and Fréchet distance of each variant's pictures to all references' own pictures.

    ``name`` is the backbone's, for the metric's: ``cmmd[NAME]``. Columns ``variant``, ``metric``,
    ``value``, ``n`` (pictures), ``n_real`` (different references).
    """
    import pandas as pd

    target = rows.get("target")
    real = rows.store.images(encoder, np.unique(target[target >= 0]))
    variant = np.asarray(rows.labels.get("variant", np.full(len(rows), "")))
    distances = []
    for one in dict.fromkeys(variant.tolist()):
        x = rows.store.images(encoder, rows.image[variant == one])
        numbers = {"cmmd": cmmd(x, real), "frechet": frechet(x, real)}
        distances += [
            {"variant": one, "metric": f"{metric}[{name}]", "value": value, "n": len(x), "n_real": len(real)}
            for metric, value in numbers.items()
        ]
    return pd.DataFrame(distances)
