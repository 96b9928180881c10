"""Boutique's images: drawn once, stored uncompressed, read through a memory map."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, __version__

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.datasets.boutique import attributes, canvas, drawing, shapes
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.canvas import SIZE
from recsim_gen.datasets.boutique.drawing import render

DRAWING = (attributes, canvas, drawing, shapes)
"""The modules whose code determines the pixels."""


class RenderedImages:
    """One image per item (an ``ImageReader``); nothing is drawn before the first image is read.

    ``codes`` (n, 4) looks and ``item_ids`` (n,): image i is ``render`` of look i with the stream
    ``rng.for_(item_ids[i])``, so another stream gives another image of the same look.
    """

    def __init__(self, codes: np.ndarray, item_ids: np.ndarray, rng: Rng) -> None:
        self._codes, self._item_ids, self._rng = codes, item_ids, rng

    @property
    def present(self) -> np.ndarray:
        """Return (n,) bool: every item has an image."""
        return np.ones(len(self._codes), dtype=bool)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all pixels."""
        return fingerprint(np.asarray(self.pixels))

    @cached_property
    def pixels(self) -> np.ndarray:
        """(n, 64, 64, 3) uint8 RGB, read-only, from the cache; drawn if it is not there.

        Raises DataError (file, remedy) if the cached file is broken.
        """
        path = self._path()
        if not path.exists():
            drawn = self._draw()
            with atomic(path) as temporary, temporary.open("wb") as f:
                np.save(f, drawn, allow_pickle=False)
        shape = (len(self._codes), SIZE, SIZE, 3)
        try:
            pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DataError(
                "must be an array of pictures, got a broken file", file=path, remedy=_REDRAW
            ) from error
        if pixels.shape != shape or pixels.dtype != np.uint8:
            got = f"{pixels.dtype} {pixels.shape}"
            raise DataError(f"pictures must be uint8 {shape}, got {got}", file=path, remedy=_REDRAW)
        return pixels

    def read(self, row: int) -> Image.Image:
        """Return the image of a catalogue row, 64×64 RGB."""
        return Image.fromarray(np.array(self.pixels[row]))

    def _path(self) -> Path:
        """Path in the cache, named by all that the pixels depend on, also the code and Pillow's version."""
        code = [Path(str(module.__file__)).read_bytes() for module in DRAWING]
        key = fingerprint(
            self._codes, self._item_ids, str(self._rng.entropy()), code, __version__, np.__version__
        )
        return cache_dir() / "boutique" / f"{key}.npy"

    def _draw(self) -> np.ndarray:
        drawn = np.empty((len(self._codes), SIZE, SIZE, 3), dtype=np.uint8)
        rows = enumerate(zip(self._codes, self._item_ids.tolist(), strict=True))
        for i, (codes, item) in bar(rows, "Boutique: drawing", total=len(drawn), unit="picture"):
            drawn[i] = render(Attributes.of(codes), self._rng.for_(item))
        return drawn


_REDRAW = "Delete it; it will be drawn again when needed"
