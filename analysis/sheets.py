"""Contact sheets: images in a grid, each with a caption."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import atomic

if TYPE_CHECKING:
    from PIL import Image, ImageFont

GAP = 10  # pixels between cells
CAPTION = 30  # pixels below an image: two lines
HEADING = 26  # pixels above a row with a heading
_TEXT, _MARK, _EMPTY = (60, 60, 66), (214, 92, 16), (236, 236, 240)


def contact_sheet(
    images: Sequence[Image.Image | None],
    labels: Sequence[str],
    columns: int,
    path: str | Path,
    *,
    side: int = 128,
    lines: int = 2,
    headings: Mapping[int, str] | None = None,
    marked: Collection[int] = (),
    palette: int | None = None,
) -> Path:
    """Write a PNG that shows images in a grid.

    Parameters
    ----------
    images
        In row order. None: an empty frame, or nothing if its label is empty too.
    labels
        Captions below the images.
    columns
        Images per row.
    path
        Path of the PNG.
    side
        Images are fitted into ``side`` × ``side`` pixels.
    lines
        Labels are wrapped into at most this number of lines.
    headings
        {row of the sheet: heading above it}.
    marked
        Positions of images with a frame.
    palette
        Number of colours (up to 256) to reduce drawings to, for a smaller file.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    SettingError
        If there is no image, not one label per image, or no column.
    """
    from PIL import Image, ImageDraw

    if len(images) != len(labels) or not images:
        raise SettingError(
            f"a sheet needs an image or more and a label for each, got {len(images)}, {len(labels)}"
        )
    if columns < 1:
        raise SettingError(f"columns must be 1 or more, got {columns}")
    headings = headings or {}
    rows = -(-len(images) // columns)
    wide, high = side + GAP, side + lines * CAPTION // 2 + GAP
    tops = [GAP + row * high + HEADING * sum(r <= row for r in headings) for row in range(rows)]
    sheet = Image.new("RGB", (columns * wide + GAP, tops[-1] + high), "white")
    draw = ImageDraw.Draw(sheet)
    for row, heading in headings.items():
        draw.text((GAP, tops[row] - HEADING + 2), heading, fill=_TEXT, font=font(15))
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        left, top = GAP + k % columns * wide, tops[k // columns]
        if image is not None or label:
            _cell(sheet, (left, top), side, image, _in_lines(label, int(side / 6.2), lines))
        if k in marked:
            frame = (left - 4, top - 4, left + side + 3, top + side + 3)
            draw.rectangle(frame, outline=_MARK, width=3)
    if palette is not None:
        sheet = sheet.quantize(palette, dither=Image.Dither.NONE)
    path = Path(path)
    with atomic(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    return path


def _cell(
    sheet: Image.Image, place: tuple[int, int], side: int, image: Image.Image | None, label: str
) -> None:
    """Draw one image, or an empty frame, with its label."""
    from PIL import Image, ImageDraw, ImageOps

    left, top = place
    draw = ImageDraw.Draw(sheet)
    if image is None:
        draw.rectangle((left, top, left + side - 1, top + side - 1), outline=_EMPTY, width=2)
        middle = (left + side / 2, top + side / 2)
        draw.text(middle, "no picture", fill=_TEXT, font=font(12), anchor="mm")
    else:
        fitted = ImageOps.contain(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        sheet.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
    below = (left + side / 2, top + side + 3)
    draw.multiline_text(below, label, fill=_TEXT, font=font(12), anchor="ma", align="center", spacing=1)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of sheets, ``size`` pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _in_lines(label: str, width: int, lines: int) -> str:
    """Wrap a label; letters are composed, since the font has no combining accents."""
    import textwrap
    import unicodedata

    composed = unicodedata.normalize("NFC", label)
    return "\n".join(textwrap.wrap(composed, width, max_lines=lines, placeholder="…"))


def boutique_sheet(path: str | Path, *, seed: int = 0) -> Path:
    """Write an overview of Boutique: a row per category, a column per main colour, with varying patterns."""
    from recsim_gen.core.randomness import Rng
    from recsim_gen.datasets.boutique.attributes import CATEGORIES, COLOURS, PATTERNS, Attributes
    from recsim_gen.datasets.boutique.drawing import render

    n = len(COLOURS)
    looks = [
        Attributes(category, main, COLOURS[(column + 1 + (3 * row + 7 * column) % (n - 1)) % n], pattern)
        for row, category in enumerate(CATEGORIES)
        for column, main in enumerate(COLOURS)
        for pattern in [PATTERNS[(row + column) % len(PATTERNS)]]
    ]
    images = [render(look, Rng(seed).for_("sheet", i)) for i, look in enumerate(looks)]
    labels = [f"{look.title} with {look.second}" for look in looks]
    return contact_sheet(images, labels, n, path, palette=256)
