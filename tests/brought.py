"""Images as a person brings them, and a shop small enough to train in a second."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.pixels import Pixels

SHOP = {"n_items": 90, "n_users": 25}
QUICK = {"epochs": 2, "embedding_size": 8, "train_batch_size": 128}


def shop() -> Dataset:
    """Boutique with few items and users."""
    return open_data("boutique", **SHOP)


class Backwards(Pixels):
    """``brought:Backwards``: the features of `Pixels` in reverse order, an encoder of the same width."""

    def __init__(self, *, device: str = "cpu") -> None:
        super().__init__(device=device)
        self.fingerprint = fingerprint("backwards", self.fingerprint)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(B, 384) float32."""
        return np.ascontiguousarray(super().encode_images(images)[:, ::-1])


def picture(seed: int, kind: str = "PNG") -> bytes:
    """A file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def folder(path: Path, files: Mapping[str, bytes] | list[str]) -> Path:
    """These files in a folder; names alone get random pictures."""
    given = files if isinstance(files, Mapping) else {name: picture(i) for i, name in enumerate(files)}
    path.mkdir(parents=True, exist_ok=True)
    for name, data in given.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def tar(path: Path, names: list[str]) -> Path:
    """The same in a tar."""
    with tarfile.open(path, "w") as archive:
        for seed, name in enumerate(names):
            info, data = tarfile.TarInfo(name), picture(seed)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
