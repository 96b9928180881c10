"""Distance of a set of images from a set of real images: Fréchet distance and CMMD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.vectors import unit
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, chosen

if TYPE_CHECKING:
    from recsim_gen.core.protocols import ImageEncoder
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows

VIT_L_14_336 = "hf:openai/clip-vit-large-patch14-336"

SIGMA, SCALE = 10.0, 1000.0  # Jayasumana et al., CVPR 2024, Sec. 5
BLOCK = 2048


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Return |μx − μy|² + Tr(Σx + Σy − 2 (Σx Σy)^½) ≥ 0 of features ``x`` (n, d) and ``y`` (m, d).

    Heusel et al., NeurIPS 2017. With InceptionV3's features this is FID; with other features it is not
    comparable to FID. Biased upwards unless n and m are much larger than d. Raises DataError for fewer than
    two rows.
    """
    _check(x, y, 2)
    x, y = x.astype(np.float64), y.astype(np.float64)
    apart = x.mean(0) - y.mean(0)
    sx, sy = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    # Tr (Σx Σy)^½ is the sum of the roots of its eigenvalues, which are real and ≥ 0.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(sx @ sy).real, 0)).sum()
    return float(max(0.0, apart @ apart + np.trace(sx) + np.trace(sy) - 2 * roots))


def cmmd(x: np.ndarray, y: np.ndarray) -> float:
    """Return 1000 · MMD² with a Gaussian kernel (σ = 10) on unit features ``x`` (n, d) and ``y`` (m, d).

    Jayasumana et al., CVPR 2024; means over all pairs including each row with itself, as published. Published
    numbers use CLIP ViT-L/14 at 336 pixels. 0 for equal sets.
    """
    _check(x, y, 1)
    x, y = unit(x, np.float64), unit(y, np.float64)
    return float(SCALE * (_kernel_mean(x, x) + _kernel_mean(y, y) - 2 * _kernel_mean(x, y)))


def _kernel_mean(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of exp(−|a − b|² / 2σ²) over all pairs of rows, in blocks."""
    square = (x**2).sum(1)[:, None], (y**2).sum(1)
    total = 0.0
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        distance = square[0][part] + square[1] - 2 * x[part] @ y.T
        total += float(np.exp(-np.maximum(distance, 0) / (2 * SIGMA**2)).sum())
    return total / (len(x) * len(y))


def _check(x: np.ndarray, y: np.ndarray, least: int) -> None:
    """Raise DataError for too few features or different widths."""
    if min(len(x), len(y)) < least or x.ndim != 2 or x.shape[1:] != y.shape[1:]:
        raise DataError(
            f"two sets of at least {least} features of one width are wanted, got {x.shape}, {y.shape}"
        )


class SetDistance:
    """Distance of a method's images, as a set, from the references' own images; each image counts once.

    Every image of a method (label ``variant``) gets the value of the set, so the mean over images is that
    value; an interval from resampling images would be meaningless. NaN for a method with too few images.

    Raises MissingDependency if there are too few test episodes.
    """

    unit: str
    note: str
    needs = ("target",)
    range = (0.0, np.inf)
    higher_is_better: bool | None = False
    of_set = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.name = str(spec)
        chosen({OURS: None}, spec)
        backbone = self.backbone(spec)
        self._encoder = resources.encoder(backbone)
        self._least = self.least(self._encoder)
        if resources.dataset is not None:
            references = [e.reference for e in resources.dataset.episodes]
            counts = {"pictures of a method": len(references), "references": len(set(references))}
            for what, count in counts.items():
                if count < self._least:
                    needed = f"{self._least:,} {what} or more by {backbone}"
                    raise MissingDependency(f"needs {needed}, got {count:,} (--episodes; 0 is all)")
        self.recipe = Recipe(
            spec.recipe,
            backbone=backbone,
            weights=self._encoder.fingerprint,
            resize="as the backbone prepares pictures",
            note=f"{self.note}; no interval",
        )

    def backbone(self, spec: Spec) -> str:
        """Return the encoder that was requested, or the metric's own."""
        raise NotImplementedError

    def least(self, encoder: ImageEncoder) -> int:
        """Return the minimal number of images in each set."""
        raise NotImplementedError

    def distance(self, x: np.ndarray, real: np.ndarray) -> float:
        """Return the distance of features (n, d) from real ones (m, d)."""
        raise NotImplementedError

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return (B,) ≥ 0, equal for all images of a variant."""
        target = rows.get("target")
        real = np.unique(target[target >= 0])
        variant = np.asarray(rows.labels.get("variant", np.zeros(len(rows), dtype=np.int64)))
        value = np.full(len(rows), np.nan)
        for one in np.unique(variant):
            mine = variant == one
            if min(mine.sum(), len(real)) >= self._least:
                sets = (rows.store.images(self._encoder, numbers) for numbers in (rows.image[mine], real))
                value[mine] = self.distance(*sets)
        return value


class CMMD(SetDistance):
    """`cmmd` to the references' own images; by CLIP ViT-L/14 at 336 pixels, as published, or another."""

    unit = "1000 x MMD²"
    note = "biased upwards for few pictures, alike for methods of equally many"

    def backbone(self, spec: Spec) -> str:
        """Return the requested encoder, or else the published one."""
        return spec.backbone or VIT_L_14_336

    def least(self, encoder: ImageEncoder) -> int:
        """Return 2."""
        return 2

    def distance(self, x: np.ndarray, real: np.ndarray) -> float:
        """Return 1000 · MMD²."""
        return cmmd(x, real)


class Frechet(SetDistance):
    """`frechet` to the references' own images, by the encoder in brackets."""

    unit = "Fréchet distance"
    note = "FID by another network than InceptionV3: compares with nothing published"

    def backbone(self, spec: Spec) -> str:
        """Return the requested encoder. Raises MissingDependency if none is given."""
        if spec.backbone is None:
            raise MissingDependency(
                "needs an encoder in brackets, as in frechet[boutique-clip] or frechet[efficientnet-lite0]; "
                "no package carries FID's InceptionV3"
            )
        return spec.backbone

    def least(self, encoder: ImageEncoder) -> int:
        """Return one more than the number of dimensions, so that covariances have full rank."""
        from PIL import Image

        return encoder.encode_images([Image.new("RGB", (64, 64))]).shape[1] + 1

    def distance(self, x: np.ndarray, real: np.ndarray) -> float:
        """Return |μx − μy|² + Tr(…)."""
        return frechet(x, real)
