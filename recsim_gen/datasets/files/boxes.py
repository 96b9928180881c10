"""Bounding boxes in a table: a column ``bbox`` of ``[x, y, width, height]`` in pixels, as in COCO."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.tables import Table

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[float, float, float, float]
"""Left and upper edge, width and height, in pixels."""

BBOX = "bbox"
OTHERWISE = ("x1", "x_min", "xmin", "bbox_x1", "bbox_x", "box", "bounding_box", "left")
"""Columns of boxes in forms that are not supported."""

_NUMBERS = re.compile(r"[\s,\[\]()]+")
_NONE = ("", "nan", "none", "null")


def column_of_boxes(header: Sequence[str], file: Path) -> str | None:
    """Return the column of boxes; None if there are none. Raises DataError for boxes in another form."""
    if BBOX in header:
        return BBOX
    other = next((name for name in OTHERWISE if name in header), None)
    if other is not None:
        raise DataError(
            f"boxes are read from one column, {BBOX}, as [x, y, width, height], got a column {other}",
            file=file,
            row=1,
            remedy=f"Write them so, or leave {other} out: the whole pictures are taken then",
        )
    return None


def read_boxes(table: Table, column: str) -> list[Box | None]:
    """Return the box of each row, None for the whole image. Raises DataError for an invalid box."""
    boxes: list[Box | None] = []
    for index, text in enumerate(table.texts(column).tolist()):
        if text.lower() in _NONE:
            boxes.append(None)
            continue
        try:
            x, y, width, height = (float(part) for part in _NUMBERS.split(text) if part)
            good = math.isfinite(x + y + width + height) and min(width, height) > 0
        except ValueError:
            good = False
        if not good:
            raise DataError(
                f"a box [x, y, width, height] of positive size is wanted in {column}, got {text[:80]!r}",
                file=table.file,
                row=table.line(index),
                remedy="Correct it, or leave it empty for the whole picture",
            )
        boxes.append((x, y, width, height))
    return boxes


def cropped(image: Image.Image, box: Box, name: str) -> Image.Image:
    """Return the part of the image inside the box, in whole pixels. Raises DataError if it is empty."""
    x, y, width, height = box
    left, upper = max(0, math.floor(x)), max(0, math.floor(y))
    right, lower = min(image.width, math.ceil(x + width)), min(image.height, math.ceil(y + height))
    if left >= right or upper >= lower:
        raise DataError(
            f"the box {list(box)} lies outside of the picture, {image.width} × {image.height} pixels",
            file=name,
            remedy="Correct the column bbox",
        )
    return image.crop((left, upper, right, lower))
