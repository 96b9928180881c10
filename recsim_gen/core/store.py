"""Content-addressed names, atomic writes, and a cache of arrays.

The result of expensive work is stored under the hash of its inputs, and is written atomically.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError

LARGE = 1 << 20  # bytes of an array from which it is hashed where it stands


def fingerprint(*parts: Any) -> str:
    """Return a hash (32 hex digits) of nested dicts, sequences, arrays, dataclasses, strings and numbers.

    The order of dict keys does not matter; order, type, dtype and shape of everything else do. Raises
    TypeError for a value without a stable hash.
    """
    h = hashlib.blake2b(digest_size=16)
    for part in parts:
        _feed(h, part)
    return h.hexdigest()


def _feed(h: Any, x: Any) -> None:
    """Update the hash ``h`` with ``x``."""
    x = x.hashed() if hasattr(x, "hashed") else x  # features in a file
    if isinstance(x, np.ndarray):
        if x.dtype.hasobject:
            x = x.tolist()
        else:
            h.update(f"a{x.dtype.str}{x.shape}".encode())
            x = np.ascontiguousarray(x)
            h.update(x.tobytes() if x.nbytes < LARGE else x.reshape(-1).view(np.uint8))
            return
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        x = {f.name: getattr(x, f.name) for f in dataclasses.fields(x)}
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, Mapping):
        h.update(f"m{len(x)}".encode())
        for k in sorted(x, key=str):
            _feed(h, str(k))
            _feed(h, x[k])
    elif isinstance(x, (list, tuple)):
        _feed_all(h, x)
    elif isinstance(x, bytes):
        h.update(f"b{len(x)}".encode())
        h.update(x)
    elif x is None or isinstance(x, (str, bool, int, float, Path)):
        text = repr(str(x) if isinstance(x, Path) else x).encode()
        h.update(f"s{len(text)}".encode())
        h.update(text)
    else:
        raise TypeError(f"no stable hash for {type(x).__name__}")


def _feed_all(h: Any, x: Sequence[Any]) -> None:
    """Update the hash ``h`` with each of ``x``."""
    h.update(f"l{len(x)}".encode())
    if all(type(v) is int for v in x):  # the same at once: histories are long
        h.update("".join(f"s{len(text)}{text}" for text in map(str, x)).encode())
        return
    for v in x:
        _feed(h, v)


def cache_dir() -> Path:
    """Return ``RECSIM_CACHE`` if set, else the user's cache folder."""
    env = os.environ.get("RECSIM_CACHE")
    return Path(env) if env else Path(platformdirs.user_cache_dir("recsim-gen"))


def file_state(path: str | Path) -> tuple[int, int, int, int]:
    """Return what changes whenever a file does: size, mtime and ctime, and inode.

    Programs may set the mtime back (``rsync -t``, ``cp -p``, archives), but not the ctime.
    """
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Context that gives a temporary path and moves it to ``path`` on success, or removes it on failure.

    It may be written as a file or a folder. Readers see either the old or the new content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():  # a non-empty folder cannot be replaced in one rename
            old = path.parent / f"{temporary.name}.old"
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, in UTF-8, with the keys in the given order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def cached_array(kind: str, key: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return the cached array ``key`` of this ``kind``; if it is missing, make and cache it.

    Raises DataError (file, remedy) if the cached file is broken.
    """
    path = cache_dir() / kind / f"{key}.npy"
    if path.exists():
        try:
            kept: NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            remedy = "Delete it; it will be made again when needed"
            raise DataError(
                f"must be a cached array, got a broken file ({error})", file=path, remedy=remedy
            ) from error
        return kept
    value = make()
    with atomic(path) as temporary, temporary.open("wb") as f:
        np.save(f, value, allow_pickle=False)
    return value
