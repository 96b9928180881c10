"""Numbered images from any source; images with the same pixels share one number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.datasets.files.image_cache import Recent

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.types import ImageBatch, ImageReader

Read = Callable[[], "Image.Image"]


class Album:
    """Images by number (0, 1, …), decoded on demand.

    An image is identified by a hash of its pixels, so an image that occurs several times (as one row's target
    and another row's history, or drawn twice) is encoded once.
    """

    def __init__(self) -> None:
        self._reads: list[Read] = []
        self._digests: list[bytes] = []
        self._sizes: list[tuple[int, int]] = []
        self._parts: list[int] = []
        self._number: dict[bytes, int] = {}
        self._recent = Recent()
        self._calls = 0

    def __len__(self) -> int:
        return len(self._reads)

    def add_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Add RGB images and return their (B,) numbers.

        Raises DataError for another mode: read files with `recsim_gen.datasets.files.images`, which handles
        transparency, 16 bits and rotation.
        """
        for i, image in enumerate(images):
            if image.mode != "RGB":
                raise DataError(
                    f"RGB pictures are wanted, got mode {image.mode}",
                    row=i,
                    remedy="Read the file by recsim_gen.datasets.files.decoding.decode",
                )
        return self._add((partial(_itself, image) for image in images), len(images))

    def add_batch(self, batch: ImageBatch) -> np.ndarray:
        """Add generated images, rounded to 8 bits as in a PNG, and return their (B,) numbers."""
        return self._add((partial(_drawn, batch, i) for i in range(len(batch.pixels))), len(batch.pixels))

    def add_reader(self, images: ImageReader, rows: np.ndarray) -> np.ndarray:
        """Add these rows of a catalogue and return their (B,) numbers, −1 for a row without an image.

        Raises DataError (file, remedy) if an image cannot be decoded.
        """
        unique, place = np.unique(rows, return_inverse=True)
        number = np.full(len(unique), -1)
        present = np.flatnonzero(images.present[unique])
        reads = (partial(images.read, row) for row in unique[present].tolist())
        number[present] = self._add(reads, len(present))
        return number[place].reshape(np.shape(rows))

    def read(self, number: int) -> Image.Image:
        """Return the RGB image with this number."""
        return self._recent.get(number, self._reads[number])

    @property
    def digests(self) -> np.ndarray:
        """(n, 16) uint8 hash of size and pixels of each image."""
        return np.frombuffer(b"".join(self._digests), dtype=np.uint8).reshape(len(self), 16)

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2) int64 height and width of each image."""
        return np.array(self._sizes, dtype=np.int64).reshape(len(self), 2)

    @property
    def part(self) -> np.ndarray:
        """(n,) int64: index of the call that first added each image."""
        return np.array(self._parts, dtype=np.int64)

    def _add(self, reads: Iterable[Read], total: int) -> np.ndarray:
        """Add images and return their numbers."""
        self._calls += 1
        numbers = []
        for read in bar(reads, "reading pictures", total=total, unit="picture"):
            image = read()
            digest = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
            digest.update(image.tobytes())
            key = digest.digest()
            if key not in self._number:
                self._number[key] = len(self._reads)
                self._reads.append(read)
                self._digests.append(key)
                self._sizes.append((image.height, image.width))
                self._parts.append(self._calls)
            numbers.append(self._number[key])
        return np.array(numbers, dtype=np.int64)


def _itself(image: Image.Image) -> Image.Image:
    return image


def _drawn(batch: ImageBatch, row: int) -> Image.Image:
    from PIL import Image

    pixels = batch.pixels[row].detach().cpu().permute(1, 2, 0).double().numpy()
    return Image.fromarray(np.rint(255 * pixels).astype(np.uint8))
