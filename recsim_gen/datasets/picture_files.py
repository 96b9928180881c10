"""Pictures of a catalogue written as files: copied as they are, or drawn ones saved as PNG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recsim_gen.core.progress import bar
from recsim_gen.core.types import ImageReader
from recsim_gen.datasets.images import Pictures


def write_pictures(images: ImageReader | None, names: dict[int, str], folder: Path) -> dict[int, str]:
    """Write pictures into ``folder``; give {row: path relative to it} of those that were there.

    ``names`` {row: path without suffix}, subfolders included. Bytes of a file are copied, so that the
    same pixels are read back; what is made by code is saved as PNG.
    """
    if images is None:
        return {}
    rows = [row for row in names if images.present[row]]
    return dict(_written(images, rows, names, folder))


def _written(
    images: ImageReader, rows: list[int], names: dict[int, str], folder: Path
) -> Iterable[tuple[int, str]]:
    for row in bar(rows, "writing pictures", unit="pictures"):
        if isinstance(images, Pictures):
            member = images.member(row)
            suffix = Path(member.name).suffix.lower()
        else:
            suffix = ".png"
        place = names[row] + suffix
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(images, Pictures):
            (folder / place).write_bytes(member.read())
        else:
            images.read(row).save(folder / place)
        yield row, place
