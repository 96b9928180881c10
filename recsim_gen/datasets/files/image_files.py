"""Pictures of a catalogue written as files: copied as they are, or drawn ones saved as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from recsim_gen.core.progress import bar
from recsim_gen.core.types import ImageReader
from recsim_gen.datasets.files.images import ImageFiles


def write_images(images: ImageReader | None, names: dict[int, str], folder: Path) -> dict[int, str]:
    """Write pictures into ``folder``; give {row: path relative to it} of those that were there.

    ``names`` {row: path without suffix}, subfolders included. Bytes of a file are copied, so that the
    same pixels are read back; what is made by code is saved as PNG.
    """
    if images is None:
        return {}
    rows = [row for row in names if images.present[row]]
    return dict(_written(images, rows, names, folder))


def image_file(images: ImageReader, row: int) -> tuple[str, bytes]:
    """Suffix and bytes of the file of a picture: those it is kept in, or a PNG of its pixels."""
    if isinstance(images, ImageFiles):
        member = images.member(row)
        return Path(member.name).suffix.lower(), member.read()
    file = io.BytesIO()
    images.read(row).save(file, "PNG")
    return ".png", file.getvalue()


def _written(
    images: ImageReader, rows: list[int], names: dict[int, str], folder: Path
) -> Iterable[tuple[int, str]]:
    for row in bar(rows, "writing pictures", unit="pictures"):
        suffix, data = image_file(images, row)
        place = names[row] + suffix
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data)
        yield row, place
