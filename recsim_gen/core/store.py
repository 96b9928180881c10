"""Names by content, atomic writes, and a cache of arrays.

Everything long is kept under a name that is the hash of what went into it, and appears under
that name whole or not at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError


def fingerprint(*parts: Any) -> str:
    """Hash (32 hex digits) of nested dicts, sequences, arrays, dataclasses, text and numbers.

    Order of dict keys does not matter; order, type, dtype and shape of everything else does.
    Raises TypeError for a value it has no stable form of.
    """
    h = hashlib.blake2b(digest_size=16)
    for part in parts:
        _feed(h, part)
    return h.hexdigest()


def _feed(h: Any, x: Any) -> None:
    if isinstance(x, np.ndarray):
        if x.dtype.hasobject:
            x = x.tolist()
        else:
            h.update(f"a{x.dtype.str}{x.shape}".encode())
            h.update(np.ascontiguousarray(x).tobytes())
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
        h.update(f"l{len(x)}".encode())
        for v in x:
            _feed(h, v)
    elif isinstance(x, bytes):
        h.update(f"b{len(x)}".encode())
        h.update(x)
    elif x is None or isinstance(x, (str, bool, int, float, Path)):
        text = repr(str(x) if isinstance(x, Path) else x).encode()
        h.update(f"s{len(text)}".encode())
        h.update(text)
    else:
        raise TypeError(f"no stable hash for {type(x).__name__}")


def cache_dir() -> Path:
    """``RECSIM_CACHE`` if set, else the user's cache folder."""
    env = os.environ.get("RECSIM_CACHE")
    return Path(env) if env else Path(platformdirs.user_cache_dir("recsim-gen"))


def file_state(path: str | Path) -> tuple[int, int, int, int]:
    """What changes whenever a file does: its size, times of change (content, entry) and number on the disk.

    A program may set the first time back (``rsync -t``, ``cp -p``, archives), never the second.
    """
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it there on success, remove it on failure.

    What is written may be a file or a folder. Readers see the old content or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():  # a full folder cannot be replaced: two quick renames
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
    """Write JSON atomically, UTF-8, stable key order as given."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def cached_array(kind: str, key: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array named ``key`` among those of ``kind``; made and kept if it is not there.

    Raises DataError (file, remedy) where the kept file is not what was written.
    """
    path = cache_dir() / kind / f"{key}.npy"
    if path.exists():
        try:
            kept: NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            remedy = "Delete it; it is made again when it is next asked for"
            raise DataError(
                f"want a kept array, got a broken file ({error})", file=path, remedy=remedy
            ) from error
        return kept
    value = make()
    with atomic(path) as temporary, temporary.open("wb") as f:
        np.save(f, value, allow_pickle=False)
    return value
