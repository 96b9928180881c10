"""Cache of recently read images, bounded in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 64 * 2**20


class Recent:
    """Keeps the most recently used decoded RGB images by row, up to ``max_bytes`` of pixels.

    Thread-safe. A copy sent to another process starts empty.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[int, Image.Image] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, row: int, make: Callable[[], Image.Image]) -> Image.Image:
        """Return an image that the caller may modify: a copy of the cached one, or the result of ``make``."""
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row].copy()
        image = make()
        if _bytes(image) <= self.max_bytes:
            self._keep(row, image.copy())
        return image

    def _keep(self, row: int, image: Image.Image) -> None:
        with self._lock:
            if row in self._kept:  # another thread added it first
                return
            self._kept[row] = image
            self._bytes += _bytes(image)
            while self._bytes > self.max_bytes:
                self._bytes -= _bytes(self._kept.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return Recent, (self.max_bytes,)


def _bytes(image: Image.Image) -> int:
    return image.width * image.height * 3
