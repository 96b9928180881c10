"""The case-study sheet (RAGAR, Fig. 5): one row per episode, from the history to each generator's image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analysis.sheets import font
from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import atomic

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Tone = Literal["plain", "good", "bad"]

SIDE = 128  # side of the reference and of drawn images, in pixels
THUMB, ACROSS = 61, 5  # side of history images, and their number per row (of two)
GAP, COLUMN_GAP = 6, 18
MARGIN, HEADING, TITLE, LINE = 16, 34, 24, 17
HISTORY = ACROSS * THUMB + (ACROSS - 1) * GAP
_INK, _SOFT, _RULE = (38, 38, 43), (118, 118, 126), (226, 226, 231)
_MARK = (214, 92, 16)
_TONES = {"plain": _SOFT, "good": (18, 120, 74), "bad": (176, 42, 48)}


@dataclass(frozen=True)
class Cell:
    """An image with short lines below it, each with its tone; without image: an empty frame."""

    picture: Image.Image | None
    lines: Sequence[tuple[str, Tone]] = ()


@dataclass(frozen=True)
class Case:
    """A row: ``title``; ``history`` images oldest first, outlined or not; one cell per column."""

    title: str
    history: Sequence[tuple[Image.Image | None, bool]]
    cells: Sequence[Cell]


def case_study(cases: Sequence[Case], columns: Sequence[str], path: str | Path) -> Path:
    """Write a PNG of the cases under the names of their ``columns``; return its path.

    A history may have at most ten images. Raises SettingError if there is no case, or a case has not one cell
    per column or has a longer history.
    """
    from PIL import Image, ImageDraw

    if not cases or any(len(c.cells) != len(columns) or len(c.history) > 2 * ACROSS for c in cases):
        sizes = [(len(c.history), len(c.cells)) for c in cases]
        raise SettingError(
            f"cases must have up to {2 * ACROSS} pictures and {len(columns)} cells, got {sizes}"
        )
    lines = max((len(cell.lines) for case in cases for cell in case.cells), default=0)
    height = TITLE + SIDE + lines * LINE + 2 * GAP + MARGIN
    width = 2 * MARGIN + HISTORY + len(columns) * (COLUMN_GAP + SIDE)
    sheet = Image.new("RGB", (width, MARGIN + HEADING + len(cases) * height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), "history", fill=_INK, font=font(15))
    if any(marked for case in cases for _, marked in case.history):
        about = "outlined: retrieved for the reference"
        draw.text((MARGIN + 58, MARGIN + 2), about, fill=_SOFT, font=font(12))
    for k, name in enumerate(columns):
        draw.text((_left(k), MARGIN), name, fill=_INK, font=font(15))
    for row, case in enumerate(cases):
        _row(sheet, draw, case, MARGIN + HEADING + row * height)
    path = Path(path)
    few = sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)  # a third of the size without visible loss
    with atomic(path) as temporary:
        few.save(temporary, format="PNG", optimize=True)
    return path


def _left(column: int) -> int:
    return MARGIN + HISTORY + COLUMN_GAP + column * (COLUMN_GAP + SIDE)


def _row(sheet: Image.Image, draw: ImageDraw.ImageDraw, case: Case, top: int) -> None:
    draw.line((MARGIN, top - GAP, sheet.width - MARGIN, top - GAP), fill=_RULE)
    draw.text((MARGIN, top), case.title, fill=_SOFT, font=font(13))
    top += TITLE
    for k, (picture, marked) in enumerate(case.history):
        left, high = MARGIN + k % ACROSS * (THUMB + GAP), top + k // ACROSS * (THUMB + GAP)
        _paste(sheet, draw, picture, (left, high), THUMB)
        if marked:
            frame = (left - 2, high - 2, left + THUMB + 1, high + THUMB + 1)
            draw.rectangle(frame, outline=_MARK, width=3)
    for column, cell in enumerate(case.cells):
        _paste(sheet, draw, cell.picture, (_left(column), top), SIDE)
        for n, (text, tone) in enumerate(cell.lines):
            place = (_left(column), top + SIDE + 4 + n * LINE)
            draw.text(place, text, fill=_TONES[tone], font=font(13))


def _paste(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Image.Image | None,
    place: tuple[int, int],
    side: int,
) -> None:
    from PIL import Image, ImageOps

    left, top = place
    draw.rectangle((left, top, left + side - 1, top + side - 1), outline=_RULE)
    if picture is not None:
        fitted = ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        sheet.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
