"""Random pictures, an encoder whose answers can be worked out by hand, and rows of both."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.rows import Rows


def random_pictures(n: int, size: tuple[int, int] = (48, 40), seed: int = 0) -> list[Image.Image]:
    """Smooth random RGB pictures of ``size`` (height, width)."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 256, (n, 7, 6, 3), dtype=np.uint8)
    return [Image.fromarray(x).resize(size[::-1], Image.Resampling.BICUBIC) for x in small]


def plain_picture(colour: tuple[int, int, int], side: int = 16) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", (side, side), colour)


class ColourEncoder:
    """A picture is its mean colour, a text what is written in it: ``"255 0 0"``; counts what it reads."""

    def __init__(self, name: str = "colour", factor: float = 1.0) -> None:
        self.fingerprint, self.factor = name, factor
        self.pictures_read = self.texts_read = 0

    def encode_images(self, images):
        self.pictures_read += len(images)
        return np.stack([self.factor * np.asarray(i, dtype=np.float32).mean((0, 1)) for i in images])

    def encode_texts(self, texts):
        self.texts_read += len(texts)
        return np.array(
            [[float(x) for x in t.replace(",", " ").split()][:3] for t in texts], dtype=np.float32
        )


def colour_rows() -> Rows:
    """Three pictures of one item for three users by two methods, with all that a metric may need."""
    store = FeatureStore(Album(), batch_size=2)
    red, green, grey = plain_picture((255, 0, 0)), plain_picture((0, 255, 0)), plain_picture((100, 100, 100))
    r, g, w = store.album.add_images([red, green, grey]).tolist()
    return Rows(
        store,
        image=np.array([r, g, r]),
        target=np.array([r, w, -1]),
        history=np.array([[r, g], [g, -1], [-1, -1]]),
        user=np.array([0, 1, 0]),
        item=np.array([5, 5, 5]),
        target_text=np.array(["255 0 0", "255 255 0", "0 255 0"]),
        history_text=np.array([["255 0 0", "0 255 0"], ["255 0 0", ""], ["", ""]]),
        keywords=np.array([["255", "0", "0"], ["0", "255", "0"], ["0", "0", "255"]]),
        prompt=np.array(["255 0 0", "255 0 0", "0 255 0"]),
        labels={"variant": np.array(["a", "a", "b"])},
    )


def picture_rows(
    n: int = 4, size: tuple[int, int] = (48, 40), other: tuple[int, int] | None = None, seed: int = 0
) -> Rows:
    """``n`` random pictures, each beside a random target and a history of up to 2, of size ``other``."""
    store = FeatureStore(Album(), batch_size=3)
    image = store.album.add_images(random_pictures(n, size, seed))
    real = store.album.add_images(random_pictures(n + 2, other or size, seed + 1))
    history = np.stack([real[:n], real[1 : n + 1]], 1)
    history[0, 1] = -1
    return Rows(store, image, target=real[2:], history=history, user=np.arange(n) % 3, item=np.arange(n) % 2)


def rgb(rows: Rows, numbers: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) float64 in [0, 1] of pictures of one size."""
    return np.stack([np.asarray(rows.store.album.read(int(i)), dtype=np.float64) / 255 for i in numbers])
