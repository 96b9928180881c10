"""Decodes image files within limits; all problems are raised as one type of error.

EXIF is only read for the orientation and never written: a block that breaks Pillow's parser or writer says
nothing about the pixels.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 50_000_000  # below Pillow's own limit, at which it only warns
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
REPLACE = "Replace it by a JPEG, PNG or WebP picture, or remove it: items without picture are handled"
_ORIENTATION = 0x0112  # tag of EXIF


def decode(data: bytes, name: str) -> Image.Image:
    """Decode bytes to an upright RGB image; transparent areas become white.

    ``name`` is for messages. Raises DataError for data that is not an image of ``FORMATS``, is truncated, or
    has more than ``MAX_PIXELS`` pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise DataError(
                f"a picture of at most {MAX_PIXELS:,} pixels is wanted, got {width} x {height}",
                file=name,
                remedy=REPLACE,
            )
        image.load()
        return _rgb(_upright(image))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"a picture is wanted ({', '.join(FORMATS)}), got bytes that begin with {data[:12]!r}",
            file=name,
            remedy=REPLACE,
        ) from error
    except Exception as error:  # Pillow's decoders raise exceptions of any type for broken files
        raise DataError(f"the picture cannot be decoded ({error})", file=name, remedy=REPLACE) from error


def _upright(image: Image.Image) -> Image.Image:
    """Rotate and mirror the image by its EXIF orientation, without touching other EXIF data."""
    from PIL.Image import Transpose

    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    way = _orientation(image)
    return image.transpose(ways[way]) if way in ways else image


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) if there is none or EXIF cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a broken block raises anything, and the pixels are good
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):  # Pillow would clip, not scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
