"""Numbered pictures from anywhere, each kept once: the same pixels have the same number."""

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
    """Pictures by number (0, 1, …), decoded when they are asked for.

    A picture is known by a hash of its pixels, so that a target which is another row's history, or a
    picture that a generator drew twice, is encoded once. ``part`` (n,) int says with which call each
    came, ``digests`` (n, 16) uint8 are the hashes, ``sizes`` (n, 2) int height and width.
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
        """(B,) numbers of RGB pictures.

        Raises DataError for another mode: files are read by `recsim_gen.datasets.files.images`, which knows
        what to do with transparency, 16 bits and rotation.
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
        """(B,) numbers of generated pictures, as a PNG would hold them: rounded to 8 bits."""
        return self._add((partial(_drawn, batch, i) for i in range(len(batch.pixels))), len(batch.pixels))

    def add_reader(self, images: ImageReader, rows: np.ndarray) -> np.ndarray:
        """(B,) numbers of these rows of a catalogue, −1 for a row without picture.

        Raises DataError (file, remedy) for a picture that cannot be decoded.
        """
        unique, place = np.unique(rows, return_inverse=True)
        number = np.full(len(unique), -1)
        present = np.flatnonzero(images.present[unique])
        reads = (partial(images.read, row) for row in unique[present].tolist())
        number[present] = self._add(reads, len(present))
        return number[place].reshape(np.shape(rows))

    def read(self, number: int) -> Image.Image:
        """The picture of a number, RGB."""
        return self._recent.get(number, self._reads[number])

    @property
    def digests(self) -> np.ndarray:
        """(n, 16) uint8 hash of size and pixels of each picture."""
        return np.frombuffer(b"".join(self._digests), dtype=np.uint8).reshape(len(self), 16)

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2) int64 height and width of each picture."""
        return np.array(self._sizes, dtype=np.int64).reshape(len(self), 2)

    @property
    def part(self) -> np.ndarray:
        """(n,) int64: the call with which each picture came first."""
        return np.array(self._parts, dtype=np.int64)

    def _add(self, reads: Iterable[Read], total: int) -> np.ndarray:
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
