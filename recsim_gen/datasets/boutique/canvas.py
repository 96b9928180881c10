"""Canvas that Boutique's items are drawn on: colours, patterns and strokes in local units."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from recsim_gen.datasets.boutique.attributes import Attributes

SIZE = 64

OVERSAMPLING = 4

PALETTE = {
    "red": (220, 34, 46),
    "orange": (246, 118, 22),
    "yellow": (254, 222, 62),
    "green": (44, 146, 72),
    "blue": (38, 98, 206),
    "purple": (142, 68, 192),
    "pink": (250, 146, 190),
    "brown": (108, 68, 36),
    "black": (36, 36, 42),
    "white": (250, 250, 247),
}

_WIDE = SIZE * OVERSAMPLING

_INK = 1.6  # width of outlines: one pixel of the final image

Paint = Literal["cloth", "main", "second", "ink"]

Colour = tuple[int, int, int]


def _ink(main: str) -> Colour:
    """Return the outline colour: a dark shade of the main colour; for black a lighter one, to show folds."""
    if main == "black":
        return (112, 112, 122)
    red, green, blue = PALETTE[main]
    factor = 0.5 if main == "white" else 0.45
    return round(red * factor), round(green * factor), round(blue * factor)


class Canvas:
    """A tilted canvas in local units; ``image`` is RGBA, 256×256.

    Paints: ``cloth`` (main colour with the pattern in the second), ``main``, ``second``, ``ink``.
    """

    def __init__(self, attributes: Attributes, random: np.random.Generator) -> None:
        tilt = np.deg2rad(random.uniform(-6, 6))
        stretch = random.uniform(0.9, 0.99) * (1 + random.uniform(-0.03, 0.03) * np.array([1, -1]))
        turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
        self._matrix = turn * stretch * (_WIDE / 100)
        self._centre = (50 + random.uniform(-2.5, 2.5, 2)) * (_WIDE / 100)
        self._unit = float(stretch.mean()) * _WIDE / 100
        self._solid = {
            "main": PALETTE[attributes.main],
            "second": PALETTE[attributes.second],
            "ink": _ink(attributes.main),
        }
        self._cloth = self._texture(attributes, random)
        self.image = Image.new("RGBA", (_WIDE, _WIDE), (*self._solid["ink"], 0))
        self._draw = ImageDraw.Draw(self.image)

    def fill(self, points: np.ndarray, paint: Paint = "cloth", *, outline: bool = True) -> None:
        """Fill the closed curve through ``points`` (k, 2) and outline it."""
        placed = self._place(points)
        if paint == "cloth":
            mask = Image.new("L", self.image.size)
            ImageDraw.Draw(mask).polygon(placed, fill=255)
            self.image.paste(self._cloth, mask=mask)
        else:
            self._draw.polygon(placed, fill=(*self._solid[paint], 255))
        if outline:
            closed = [*placed, placed[0], placed[1]]  # repeating the second point rounds the last corner
            wide = max(1, round(_INK * self._unit))
            self._draw.line(closed, fill=(*self._solid["ink"], 255), width=wide, joint="curve")

    def stroke(self, points: np.ndarray, paint: Paint, width: float, *, outline: bool = False) -> None:
        """Draw a band of ``width`` along the open, smooth ``points`` (k, 2) with round ends."""
        if outline:
            self._band(points, "ink", width + 2 * _INK)
        self._band(points, paint, width)

    def _band(self, points: np.ndarray, paint: Paint, width: float) -> None:
        """Draw the band as one polygon, since Pillow's wide lines have gaps where segments are short."""
        along = np.gradient(np.asarray(points, dtype=float), axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        across *= width / 2 / np.linalg.norm(across, axis=1, keepdims=True)
        colour = (*self._solid[paint], 255)
        self._draw.polygon(
            self._place(np.concatenate([points + across, (points - across)[::-1]])), fill=colour
        )
        for x, y in self._place(points[[0, -1]]):
            r = width * self._unit / 2
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def _place(self, points: np.ndarray) -> list[tuple[float, float]]:
        placed = (np.asarray(points, dtype=float) - 50) @ self._matrix.T + self._centre
        return [(x, y) for x, y in placed.tolist()]

    def _texture(self, attributes: Attributes, random: np.random.Generator) -> Image.Image:
        """Return the pattern in the item's own coordinates, so that it tilts and scales with the item."""
        phase, period = random.uniform(0, 1, 2), random.uniform(15, 17.5)
        steps = np.arange(_WIDE) + 0.5
        x, y = (steps - self._centre[0])[None, :], (steps - self._centre[1])[:, None]
        inverse = np.linalg.inv(self._matrix) / period
        u, v = (((a * x).astype(np.float32) + (b * y).astype(np.float32)) for a, b in inverse)
        share = _share(attributes.pattern, u + np.float32(phase[0]), v + np.float32(phase[1]))
        size = (_WIDE, _WIDE)
        main, second = (Image.new("RGBA", size, (*self._solid[p], 255)) for p in ("main", "second"))
        return Image.composite(second, main, Image.fromarray(share)) if share.any() else main


def _share(pattern: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the share (uint8, 255 is all) of the second colour at the pattern's coordinates (u, v).

    The second colour always covers less area than the main one, so the two cannot be confused.
    """
    across, down = u - np.floor(u), v - np.floor(v)
    if pattern == "stripes":
        return (down < 0.32) * np.uint8(255)
    if pattern == "dots":
        shifted = u + 0.5 * (np.floor(v) % 2)  # every other row is shifted by half a step
        return ((shifted - np.floor(shifted) - 0.5) ** 2 + (down - 0.5) ** 2 < 0.3**2) * np.uint8(255)
    if pattern == "checks":  # gingham: bands cross, full colour where they do
        return (across < 0.34) * np.uint8(127) + (down < 0.34) * np.uint8(128)
    if pattern == "zigzag":
        wave = (v + 1.1 * np.abs(across - 0.5)) / 1.15
        return (wave - np.floor(wave) < 0.32) * np.uint8(255)
    return np.zeros(u.shape, dtype=np.uint8)
