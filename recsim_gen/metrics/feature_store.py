"""Features of images and texts, each computed once for all metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from recsim_gen.core.store import fingerprint
from recsim_gen.encoders.features import in_shards
from recsim_gen.metrics.album import Album

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import ImageEncoder, TextEncoder

Filter = Literal["bicubic", "bilinear"]


class FeatureStore:
    """Encoder features of the images of an ``album``, and of texts.

    Features are identified by the encoder's fingerprint and the hash of the image (or the text itself). They
    are kept in memory and, in shards, in the cache, so an interrupted run resumes. The result does not depend
    on ``batch_size``.
    """

    def __init__(self, album: Album, *, batch_size: int = 32) -> None:
        self.album = album
        self.batch_size = batch_size
        self._tables: dict[tuple[str, str], _Table] = {}
        self._texts: dict[str, int] = {}

    def images(self, encoder: ImageEncoder, numbers: np.ndarray) -> np.ndarray:
        """Return the (…, d) float32 features of the images ``numbers`` (…), not normalised."""
        digests, part = self.album.digests, self.album.part

        def encode(rows: np.ndarray) -> np.ndarray:
            return encoder.encode_images([self.album.read(row) for row in rows.tolist()])

        def name(rows: np.ndarray) -> str:
            return fingerprint(encoder.fingerprint, "picture", digests[rows])

        table = self._table(encoder.fingerprint, "image")
        distinct = np.unique(numbers)
        # One source per shard: another generator's images do not change the names of the data's shards.
        for source in np.unique(part[distinct]):
            self._fill(table, distinct[part[distinct] == source], encode, name, "image features")
        return table.x[numbers]

    def texts(self, encoder: TextEncoder, texts: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return the (B, d) float32 features of ``texts`` (B,), not normalised."""
        unique, place = np.unique(np.asarray(texts, dtype=str), return_inverse=True)
        numbers = np.array(
            [self._texts.setdefault(text, len(self._texts)) for text in unique.tolist()], dtype=np.int64
        )
        words = {number: text for text, number in self._texts.items()}

        def encode(rows: np.ndarray) -> np.ndarray:
            return encoder.encode_texts([words[row] for row in rows.tolist()])

        def name(rows: np.ndarray) -> str:
            return fingerprint(encoder.fingerprint, "text", [words[row] for row in rows.tolist()])

        table = self._table(encoder.fingerprint, "text")
        self._fill(table, numbers, encode, name, "text features")
        return table.x[numbers[place.ravel()]]

    def pixels(
        self, numbers: np.ndarray, size: tuple[int, int], resample: Filter = "bicubic"
    ) -> torch.Tensor:
        """Return (B, 3, H, W) float32 pixels in [0, 1], resized to ``size`` (H, W) if needed.

        Resized by Pillow's filter, which averages when downscaling.
        """
        import torch
        from PIL.Image import Resampling

        filters = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}
        high, wide = size
        pixels = np.empty((len(numbers), high, wide, 3), dtype=np.uint8)
        for i, number in enumerate(numbers.tolist()):
            image = self.album.read(number)
            if image.size != (wide, high):
                image = image.resize((wide, high), filters[resample])
            pixels[i] = np.asarray(image)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    def _table(self, encoder: str, kind: str) -> _Table:
        return self._tables.setdefault((encoder, kind), _Table())

    def _fill(
        self,
        table: _Table,
        rows: np.ndarray,
        encode: Callable[[np.ndarray], np.ndarray],
        name: Callable[[np.ndarray], str],
        title: str,
    ) -> None:
        """Encode the rows that ``table`` lacks, in shards that are cached by name."""
        missing = rows[~table.has(rows)]
        if len(missing):
            table.put(missing, in_shards(missing, encode, name, self.batch_size, title))


class _Table:
    """Features of the rows stored so far, in a growing array."""

    def __init__(self) -> None:
        self.x = np.empty((0, 0), dtype=np.float32)
        self.filled = np.zeros(0, dtype=bool)

    def has(self, rows: np.ndarray) -> np.ndarray:
        has = np.zeros(len(rows), dtype=bool)
        inside = rows < len(self.filled)
        has[inside] = self.filled[rows[inside]]
        return has

    def put(self, rows: np.ndarray, x: np.ndarray) -> None:
        length = max(len(self.filled), int(rows.max()) + 1)
        grown = np.zeros((length, x.shape[1]), dtype=np.float32)
        filled = np.zeros(length, dtype=bool)
        if len(self.filled):
            grown[: len(self.filled)], filled[: len(self.filled)] = self.x, self.filled
        grown[rows], filled[rows] = x, True
        self.x, self.filled = grown, filled
