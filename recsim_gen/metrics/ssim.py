"""Structural similarity of two images (Wang et al., IEEE TIP 2004).

    SSIM(x, y) = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))

per position and channel, with Gaussian windows (σ 1.5, 11 × 11), C1 = (0.01 L)², C2 = (0.03 L)² and L the
range of the values; averaged over positions and channels. Implementations differ in L and in the border:

=============  ==========================  ===========================================  =========
recipe         agrees with                 border                                       L
=============  ==========================  ===========================================  =========
ours           scikit-image, Wang et al.   windows wholly inside the image              1
torchmetrics   torchmetrics                mirrored, windows around every pixel         1
pmg-bench      PMG-Bench's code            as torchmetrics                              **2** for
                                                                                        [0, 1]
pigeon         pytorch-msssim              as ours, on values in [0, 255]: the same     255
                                           number
=============  ==========================  ===========================================  =========

An L larger than the true range makes the constants larger and every value better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.metrics.pairs import TO_REAL, Against, Resize, against
from recsim_gen.metrics.recipes import OURS, PIGEON, PMG_BENCH, TORCHMETRICS, X100, Recipe, Spec, chosen

if TYPE_CHECKING:
    import torch

    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows

SIGMA, WIDTH = 1.5, 11
K1, K2 = 0.01, 0.03
PART = 32  # outputs per product: larger band matrices are mostly zeros

Border = Literal["inside", "mirror"]


@dataclass(frozen=True)
class _How:
    """Settings of a recipe."""

    data_range: float = 1.0
    peak: float = 1.0  # maximum of the pixel values
    border: Border = "inside"
    resize: Resize = TO_REAL
    scale: float = 1.0
    note: str = ""


RECIPES = {
    OURS: _How(),
    X100: _How(scale=100.0),
    TORCHMETRICS: _How(border="mirror"),
    PMG_BENCH: _How(
        data_range=2.0,
        border="mirror",
        resize=Resize(512),
        note="data_range=2 for pictures in [0, 1]: constants four times too large, every number too high",
    ),
    PIGEON: _How(data_range=255.0, peak=255.0, resize=Resize(None, "bilinear")),
}


class Maps(NamedTuple):
    """Local statistics of U images, float32.

    ``apart`` are the values minus the channel's mean (padded), ``mu_apart`` their local means, ``mu`` those
    of the values, ``variance`` the local variances. Variances are differences of squares, which lose less
    precision in float32 if the values are small.
    """

    apart: torch.Tensor
    mu_apart: torch.Tensor
    mu: torch.Tensor
    variance: torch.Tensor


@dataclass(frozen=True)
class Structure:
    """SSIM of image pairs; what depends on one image is computed once for all its pairs.

    Images (U, 3, H, W) in [0, 1] are multiplied by ``peak``; ``data_range`` is L.
    """

    data_range: float = 1.0
    peak: float = 1.0
    border: Border = "inside"
    device: str = "cpu"
    pixels_held = 1 << 16

    def prepare(self, pixels: torch.Tensor) -> Maps:
        """Return the local statistics of images. Raises DataError for images smaller than the window."""
        import torch

        if min(pixels.shape[2:]) < WIDTH:
            high, wide = pixels.shape[2:]
            raise DataError(f"SSIM wants pictures of at least {WIDTH} x {WIDTH} pixels, got {high} x {wide}")
        x = pixels.to(self.device).float() * self.peak
        if self.border == "mirror":
            x = torch.nn.functional.pad(x, (WIDTH // 2,) * 4, mode="reflect")
        mean = x.mean((2, 3), keepdim=True)
        x = x - mean
        mu = smooth(x)
        return Maps(x, mu, mu + mean, (smooth(x * x) - mu * mu).clamp_min_(0))

    def compare(self, maps: Maps, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the (P,) SSIM in [−1, 1]."""
        left, right = left.to(maps.mu.device), right.to(maps.mu.device)
        c1, c2 = (K1 * self.data_range) ** 2, (K2 * self.data_range) ** 2
        covariance = smooth(maps.apart[left] * maps.apart[right])
        covariance -= maps.mu_apart[left] * maps.mu_apart[right]
        a, b = maps.mu[left], maps.mu[right]
        above = (2 * a * b + c1) * (2 * covariance + c2)
        below = (a * a + b * b + c1) * (maps.variance[left] + maps.variance[right] + c2)
        return (above / below).mean((1, 2, 3))


def smooth(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` (U, C, H, W) filtered by the Gaussian window without padding: (U, C, H−10, W−10).

    Computed by products with band matrices, on a CPU several times faster than a single-channel convolution.
    """
    import torch

    def parts(length: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Return, for each part of an axis, the slice to read and its band matrix (outputs, inputs)."""
        for start in range(0, length - WIDTH + 1, PART):
            inputs = slice(start, min(start + PART + WIDTH - 1, length))
            yield inputs, torch.from_numpy(_band(inputs.stop - inputs.start)).to(x)

    x = torch.cat([x[..., at] @ band.T for at, band in parts(x.shape[3])], dim=3)
    return torch.cat([band @ x[:, :, at] for at, band in parts(x.shape[2])], dim=2)


@cache
def _band(length: int) -> np.ndarray:
    """Return (length − 10, length): the window in each row, shifted by one place per row."""
    place = np.arange(WIDTH) - WIDTH // 2
    window = np.exp(-((place / SIGMA) ** 2) / 2)
    rows = np.arange(length - WIDTH + 1)[:, None]
    band = np.zeros((length - WIDTH + 1, length))
    band[rows, rows + np.arange(WIDTH)] = window / window.sum()
    return band


class SSIM:
    """SSIM with the reference's own image."""

    against: Against = "target"
    unit = "SSIM"
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        recipe = chosen(RECIPES, spec)
        self.name, self.needs = str(spec), (self.against,)
        self.range = (-recipe.scale, recipe.scale)
        self._scale, self._resize = recipe.scale, recipe.resize
        self._structure = Structure(recipe.data_range, recipe.peak, recipe.border, resources.device)
        self.recipe = Recipe(
            spec.recipe,
            resize=str(recipe.resize),
            input_range=f"[0, {recipe.peak:g}], data_range {recipe.data_range:g}",
            scale=recipe.scale,
            note="; ".join(
                filter(None, [f"Gaussian window 11, sigma 1.5, border: {recipe.border}", recipe.note])
            ),
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) values in ``range``."""
        return self._scale * against(rows, self.against, self._structure, self._resize)


class SSIMHistory(SSIM):
    """Mean SSIM with the images of the history."""

    against: Against = "history"
