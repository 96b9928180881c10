"""Draws a Boutique item, 64×64, from its attributes.

The item is drawn at four times the size on a transparent canvas, reduced with a Lanczos filter, and composed
over a light background with a soft shadow. Shapes are in local units: the canvas is 100 wide and high, y
points down. Position, scale, tilt, pattern phase and background vary, so two items with equal attributes have
different images.
"""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.canvas import SIZE, Canvas, Colour
from recsim_gen.datasets.boutique.shapes import SHAPES


def render(attributes: Attributes, rng: Rng) -> Image.Image:
    """Return the item as a 64×64 RGB image; equal attributes and stream give equal bytes."""
    random = rng.numpy()
    canvas = Canvas(attributes, random)
    SHAPES[attributes.category](canvas)
    item = canvas.image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    alpha = item.getchannel("A")
    image = Image.new("RGB", (SIZE, SIZE), _background(random))
    shadow = alpha.filter(ImageFilter.GaussianBlur(1.6)).point([round(0.3 * a) for a in range(256)])
    image.paste((40, 40, 60), (1, 2), shadow)
    image.paste(ImageChops.multiply(item.convert("RGB"), _light()), (0, 0), alpha)
    return image


@cache
def _light() -> Image.Image:
    """Return the shading: full brightness at the top, a tenth less at the bottom."""
    rows = np.rint(np.linspace(255, 230, SIZE)).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(rows[:, None, None], (SIZE, SIZE, 3)).copy())


def _background(random: np.random.Generator) -> Colour:
    hue, lightness = random.uniform(0, 1), random.uniform(0.87, 0.92)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, random.uniform(0.1, 0.35))
    return round(255 * red), round(255 * green), round(255 * blue)
