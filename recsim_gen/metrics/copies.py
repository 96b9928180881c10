"""Finds images that are copies of catalogue images, also re-encoded or resized ones.

Images are compared as thumbnails by the root mean square of their differences. The threshold is calibrated on
the catalogue: as far as its own images are from themselves after re-encoding. Crops, rotations and overlays
do not count as copies.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import cached_array, fingerprint
from recsim_gen.encoders.features import encode_reader

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.types import ImageReader

SIDE = 12  # side of a thumbnail in pixels
QUALITY, SMALLER = 75, 0.75  # re-encoding for the calibration: JPEG quality, and scale
SAMPLE = 200  # random catalogue images used for the calibration
SHARE = 0.99  # share of them within the threshold
NO = -1


class Thumbnails:
    """An image encoder: an image as SIDE × SIDE colours, scaled so that distances are RMS differences."""

    def __init__(self, *, device: str = "cpu") -> None:  # device: for the interface; unused
        self.fingerprint = fingerprint("thumbnails", Path(__file__).read_bytes())

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, 3 · SIDE²) float32 in [0, 1] / √(3 · SIDE²)."""
        from PIL.Image import Resampling

        small = [np.asarray(x.resize((SIDE, SIDE), Resampling.BILINEAR), dtype=np.float32) for x in images]
        x = np.stack(small).reshape(len(images), -1) / 255
        return (x / np.sqrt(x.shape[1])).astype(np.float32)


THUMBNAILS = f"{Thumbnails.__module__}:{Thumbnails.__name__}"
"""Name of the encoder for ``encode_reader``."""


@dataclass(frozen=True)
class Copies:
    """Copies found among B images.

    ``row`` (B,): catalogue row of which the image is a copy, −1 for none; ``own`` (B,): whether that is the
    image's own item.
    """

    row: np.ndarray
    own: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def count(self) -> int:
        """Number of copies."""
        return int((self.row != NO).sum())

    @property
    def sentence(self) -> str:
        """The counts in words, from `counted`."""
        return counted(self.count, int(self.own.sum()), len(self))


def counted(copies: int, own: int, of: int) -> str:
    """Return ``60 of 60 are a catalogue picture (2 the item's own, 58 another item's)``."""
    whose = f" ({own:,} the item's own, {copies - own:,} another item's)" if copies else ""
    return f"{copies:,} of {of:,} are a catalogue picture{whose}"


@dataclass(frozen=True, eq=False)
class CopyFinder:
    """Finds copies of catalogue images among thumbnails.

    Parameters
    ----------
    x
        (p, d) thumbnails of the catalogue.
    rows
        (p,) their catalogue rows.
    limit
        Threshold of the distance: 99% of the catalogue's images are nearer to themselves after re-encoding
        (the farther of JPEG quality 75 and three quarters of the size).
    alike
        Share of catalogue images with another one within the limit.
    """

    x: np.ndarray
    rows: np.ndarray
    limit: float
    alike: float

    @classmethod
    def of(cls, images: ImageReader) -> CopyFinder | None:
        """Return the finder for a catalogue, cached by content; None for fewer than two images."""
        rows = np.flatnonzero(images.present)
        if len(rows) < 2:
            return None
        x = encode_reader(images, THUMBNAILS)
        key = fingerprint(Thumbnails().fingerprint, images.fingerprint)
        limit, alike = cached_array("copies", key, lambda: _limit(images, x, rows)).tolist()
        return cls(x, rows, limit, alike)

    def find(self, x: np.ndarray, items: np.ndarray | None = None) -> Copies:
        """Return the copies among thumbnails ``x`` (B, d); ``items`` (B,) are the rows they stand for.

        An image that equals both its item's own image and another one counts as its own. Memory is bounded.
        """
        from sklearn.metrics import pairwise_distances_argmin_min

        nearest, distance = pairwise_distances_argmin_min(x, self.x)
        row = np.where(distance <= self.limit, self.rows[nearest], NO)
        own = np.zeros(len(x), dtype=bool)
        if items is not None:
            place = np.searchsorted(self.rows, items).clip(max=len(self.rows) - 1)
            own = self.rows[place] == items
            own &= np.linalg.norm(x - self.x[place], axis=1) <= self.limit
            row = np.where(own, items, row)
        return Copies(row, own)

    def groups(self) -> np.ndarray:
        """(p,) int: equal for images that are copies of each other, directly or through others."""
        from scipy.sparse.csgraph import connected_components
        from sklearn.neighbors import radius_neighbors_graph

        near = radius_neighbors_graph(self.x, self.limit, mode="connectivity", include_self=True)
        group: np.ndarray = connected_components(near, directed=False)[1]
        return group

    @property
    def rule(self) -> str:
        """The definition of a copy, in words."""
        return (
            f"copies are as near as {SHARE:.0%} of the catalogue's pictures are to themselves as JPEG or at "
            f"{SMALLER:.0%} of the size (RMS {self.limit:.3f}; {self.alike:.1%} of the catalogue's own have "
            "another as near)"
        )


def _limit(images: ImageReader, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (2,): `CopyFinder.limit` and `CopyFinder.alike`."""
    from sklearn.neighbors import NearestNeighbors

    at = Rng(0).for_("copies").numpy().permutation(len(rows))[:SAMPLE]
    pictures = [images.read(row) for row in rows[at].tolist()]
    again = [[_as_jpeg(p) for p in pictures], [_smaller(p) for p in pictures]]
    distances = [np.linalg.norm(Thumbnails().encode_images(ps) - x[at], axis=1) for ps in again]
    limit = np.quantile(np.max(distances, axis=0), SHARE)
    others = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(x).kneighbors(x[at])[0][:, 1]
    return np.array([limit, (others <= limit).mean()])


def _as_jpeg(picture: Image.Image) -> Image.Image:
    from PIL import Image

    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return Image.open(buffer).convert("RGB")


def _smaller(picture: Image.Image) -> Image.Image:
    from PIL.Image import Resampling

    wide, high = (max(1, round(side * SMALLER)) for side in picture.size)
    return picture.resize((wide, high), Resampling.BICUBIC)
