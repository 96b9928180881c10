"""Structural similarity of two pictures (Wang et al., IEEE TIP 2004).

    SSIM(x, y) = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))

per place and channel, with Gaussian windows (σ 1.5, 11 × 11), C1 = (0.01 L)², C2 = (0.03 L)² and L
the range of the values; the mean over places and channels. Everyone's number of this name has its
own L and its own border:

=============  ==========================  ===========================================  =========
recipe         agrees with                 border                                       L
=============  ==========================  ===========================================  =========
ours           scikit-image, Wang et al.   windows that lie wholly inside               1
torchmetrics   torchmetrics                mirrored, windows around every pixel         1
pmg-bench      PMG-Bench's code            as torchmetrics                              **2** for
                                                                                        [0, 1]
pigeon         pytorch-msssim              as ours, on values in [0, 255]: the same     255
                                           number
=============  ==========================  ===========================================  =========

A larger L than the pictures have makes the constants larger and every number better.
"""

from __future__ import annotations

from dataclasses import dataclass
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
TILE = 64  # values that one product filters

Border = Literal["inside", "mirror"]


@dataclass(frozen=True)
class _How:
    data_range: float = 1.0
    peak: float = 1.0  # of the pictures' values
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
    """Of U pictures: ``pixels`` (padded), means ``mu`` and mean squares ``square``, float64."""

    pixels: torch.Tensor
    mu: torch.Tensor
    square: torch.Tensor


@dataclass(frozen=True)
class Structure:
    """SSIM of pairs; what belongs to one picture alone is computed once for all its pairs.

    Pictures (U, 3, H, W) in [0, 1] are multiplied by ``peak``; ``data_range`` is L. In float64.
    """

    data_range: float = 1.0
    peak: float = 1.0
    border: Border = "inside"
    device: str = "cpu"

    def prepare(self, pixels: torch.Tensor) -> Maps:
        """Raises DataError for pictures smaller than the window."""
        import torch

        if min(pixels.shape[2:]) < WIDTH:
            high, wide = pixels.shape[2:]
            raise DataError(f"SSIM wants pictures of at least {WIDTH} x {WIDTH} pixels, got {high} x {wide}")
        x = pixels.to(self.device).double() * self.peak
        if self.border == "mirror":
            x = torch.nn.functional.pad(x, (WIDTH // 2,) * 4, mode="reflect")
        return Maps(x, smooth(x), smooth(x * x))

    def compare(self, maps: Maps, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """(P,) in [−1, 1]."""
        left, right = left.to(maps.mu.device), right.to(maps.mu.device)
        c1, c2 = (K1 * self.data_range) ** 2, (K2 * self.data_range) ** 2
        variance = (maps.square - maps.mu**2).clamp_min(0)
        product = maps.mu[left] * maps.mu[right]
        covariance = smooth(maps.pixels[left] * maps.pixels[right]) - product
        squares = maps.mu[left] ** 2 + maps.mu[right] ** 2
        above = (2 * product + c1) * (2 * covariance + c2)
        below = (squares + c1) * (variance[left] + variance[right] + c2)
        return (above / below).mean((1, 2, 3))


def smooth(x: torch.Tensor) -> torch.Tensor:
    """``x`` (U, C, H, W) under the Gaussian window, where it lies wholly inside: (U, C, H−10, W−10)."""
    return _along_rows(_along_rows(x).transpose(2, 3)).transpose(2, 3)


def _along_rows(x: torch.Tensor) -> torch.Tensor:
    """The window along the last axis, as products of tiles with a band matrix.

    On a CPU many times faster than a convolution of one channel.
    """
    import torch

    length = x.shape[-1] - WIDTH + 1
    step = TILE - WIDTH + 1
    tiles = -(-length // step)
    padded = torch.nn.functional.pad(x, (0, tiles * step + WIDTH - 1 - x.shape[-1]))
    place = np.arange(WIDTH) - WIDTH // 2
    window = np.exp(-((place / SIGMA) ** 2) / 2)
    band = np.zeros((TILE, step))
    band[np.arange(step)[:, None] + np.arange(WIDTH), np.arange(step)[:, None]] = window / window.sum()
    product = padded.unfold(-1, TILE, step) @ torch.from_numpy(band).to(x)
    return product.flatten(-2)[..., :length]


class SSIM:
    """SSIM with the reference's own picture."""

    against: Against = "target"
    unit = "SSIM"
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        how = chosen(RECIPES, spec)
        self.name, self.needs = str(spec), (self.against,)
        self.range = (-how.scale, how.scale)
        self._how = how
        self._structure = Structure(how.data_range, how.peak, how.border, resources.device)
        self.recipe = Recipe(
            spec.recipe,
            resize=str(how.resize),
            input_range=f"[0, {how.peak:g}], data_range {how.data_range:g}",
            scale=how.scale,
            note="; ".join(filter(None, [f"Gaussian window 11, sigma 1.5, border: {how.border}", how.note])),
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """(B,) in ``range``."""
        return self._how.scale * against(rows, self.against, self._structure, self._how.resize)


class SSIMHistory(SSIM):
    """Mean SSIM with the pictures of the history."""

    against: Against = "history"
