"""A sheet of sample images for the tracker: reference, image of the keywords, image of the preference."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from generators.images import image_of
from generators.ragar.judge import pictures

if TYPE_CHECKING:
    from torch import Tensor

    from recsim_gen.core.types import Catalog, Episode

ROWS = 8  # episodes per sheet


@contextmanager
def sheet(catalog: Catalog, episodes: Sequence[Episode], pixels: Tensor, step: int) -> Iterator[Path]:
    """Context that gives a temporary PNG of the first episodes.

    ``pixels`` (B, 2, 3, H, W): of P_gen, then of E_key.
    """
    from PIL import Image

    size = (pixels.shape[-1], pixels.shape[-2])
    whole = Image.new("RGB", (3 * size[0], size[1] * min(ROWS, len(episodes))), "white")
    for row, episode in enumerate(episodes[:ROWS]):
        generated, key = pictures(pixels[row])
        own = image_of(catalog, episode.reference).resize(size)
        for column, picture in enumerate((own, key, generated)):
            whole.paste(picture, (column * size[0], row * size[1]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"step{step:06d}.png"
        whole.save(path)
        yield path
