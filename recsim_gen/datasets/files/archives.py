"""Compressed tars: unpacked once into a plain tar in the cache, because images are read in random order.

Members are never extracted: the result is one tar file, so a malicious member name has no effect.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.store import atomic, cache_dir, cached_array, file_state, fingerprint

MAX_RATIO = 20  # unpacked to packed size: images hardly shrink, archive bombs reach a thousand to one
SMALL = 2**30  # bytes that any archive may unpack to, whatever the ratio
_CHUNK = 2**22
_GZIP = b"\x1f\x8b"


def is_gzip(path: Path) -> bool:
    """Return whether a file starts like a gzip file."""
    with path.open("rb") as f:
        return f.read(len(_GZIP)) == _GZIP


def unpacked(path: Path, check: Callable[[Path], object]) -> Path:
    """Return the path of the unpacked file in the cache, named by the content of ``path``.

    ``check`` inspects the unpacked file before it is cached and raises if it is not acceptable. Raises
    DataError if ``path`` is truncated or broken, or unpacks to more than ``MAX_RATIO`` times its size;
    nothing is cached then.
    """

    def make() -> np.ndarray:
        """Unpack the file and return its digest."""
        digest = _digest(path)
        _keep(path, _place(digest), check)
        return digest

    place = _place(cached_array("archive-digests", _state(path), make))
    _keep(path, place, check)  # if a part of the cache was deleted
    return place


def content_name(path: Path) -> str:
    """Return the hash (32 hex digits) of the content of a file, which is read once per state of the file."""
    return cached_array("archive-digests", _state(path), lambda: _digest(path)).tobytes().hex()


def _state(path: Path) -> str:
    return fingerprint(str(path.resolve()), *file_state(path))


def _place(digest: np.ndarray) -> Path:
    return cache_dir() / "archives" / f"{digest.tobytes().hex()}.tar"


def _digest(path: Path) -> np.ndarray:
    """Return the (16,) uint8 BLAKE2 hash of the file."""
    h = hashlib.blake2b(digest_size=16)
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            h.update(chunk)
    return np.frombuffer(h.digest(), dtype=np.uint8)


def _keep(path: Path, place: Path, check: Callable[[Path], object]) -> None:
    if place.exists():
        return
    with atomic(place) as temporary:
        try:
            _unpack(path, temporary)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"the archive is cut off or broken ({error})", file=path, remedy="Fetch the archive again"
            ) from error
        except OSError as error:
            remedy = "Make room there, or set RECSIM_CACHE to a larger disk"
            raise DataError(
                f"cannot be unpacked into {place.parent} ({error.strerror})", file=path, remedy=remedy
            ) from error
        check(temporary)


def _unpack(path: Path, place: Path) -> None:
    size = path.stat().st_size
    most = max(SMALL, MAX_RATIO * size)
    with (
        path.open("rb") as packed,
        gzip.open(packed) as source,
        place.open("wb") as target,
        bar(what=f"unpacking {path.name} once", total=size, unit="B") as shown,
    ):
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            shown.update(packed.tell() - shown.n)
            if target.tell() > most:
                raise DataError(
                    f"at most {most:,} bytes are unpacked from {size:,}, this archive has more",
                    file=path,
                    remedy="Unpack it by hand if you trust it, and name the folder",
                )
