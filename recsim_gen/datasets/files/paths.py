"""Paths in downloaded files: each must be inside the data folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.images import Member
from recsim_gen.datasets.files.names import spellings
from recsim_gen.datasets.files.remarks import remark

_STORES = frozenset({"images", "image", "pictures", "photos", "posters", "img", "imgs"})
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_INSIDE = "Name files inside the data folder, relative to it"


class InsidePaths:
    """Resolves paths named in a file to image members, none outside ``folder``.

    A path is relative to ``folder``, or absolute and inside it. ``prefix`` is the beginning of absolute paths
    that corresponds to ``folder`` on the machine where they were written.
    """

    def __init__(self, folder: str | Path, prefix: str | None = None) -> None:
        self.folder = Path(folder)
        self._root = os.path.realpath(folder)
        bases = [prefix or "", os.path.abspath(folder), self._root]
        self._bases = tuple(base.rstrip("/") + "/" for base in bases if base)
        self._has_prefix = bool(prefix)
        self._inside: dict[str, bool] = {}

    def member(self, text: str, stem: str, *, file: Path, row: int | str | None = None) -> Member | None:
        """Return the image at ``text``, named ``stem``; None if there is no such file.

        A file whose name has another Unicode form than ``text`` matches too. ``file`` and ``row`` say where
        the path is written. Raises DataError for a path that leads out of the folder, by name or through a
        link, or to something that is not a plain file.
        """
        members = (self._member(spelling, stem, file, row) for spelling in spellings(text))
        return next((member for member in members if member is not None), None)

    def _member(self, text: str, stem: str, file: Path, row: int | str | None) -> Member | None:
        path = self._place(text)
        problem = None
        if path is None:
            problem = f"{text[:200]!r} leads out of {self.folder}"
        else:
            try:
                status = os.lstat(path)
                if not self._stays(path, status):
                    problem = f"{text[:200]!r} is a link out of {self.folder}"
                elif not stat.S_ISREG((status := os.stat(path)).st_mode):
                    problem = f"{text[:200]!r} is no plain file"
                else:
                    return Member(Path(path), path, stem, 0, status.st_size)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (OSError, ValueError) as error:  # a name that is too long or has invalid characters
                problem = f"{text[:200]!a} is no path ({error})"
        remedy = _INSIDE
        if not self._has_prefix and text.startswith("/"):
            remedy += "; where they were written elsewhere, set image_prefix to the part to be replaced by it"
        raise DataError(problem, file=file, row=row, remedy=remedy)

    def _place(self, text: str) -> str | None:
        base = next((base for base in self._bases if text.startswith(base)), "")
        text = text.removeprefix(base)
        if not text or text.startswith("/") or ".." in PurePosixPath(text).parts:
            return None
        path = os.path.normpath(os.path.join(self._root, text))
        return path if path.startswith(self._root + os.sep) else None

    def _stays(self, path: str, found: os.stat_result) -> bool:
        """Return whether ``path`` is inside after resolving links; each folder is checked once."""
        if stat.S_ISLNK(found.st_mode):
            return self._is_inside(os.path.realpath(path))
        parent = os.path.dirname(path)
        if parent not in self._inside:
            self._inside[parent] = self._is_inside(os.path.join(os.path.realpath(parent), "x"))
        return self._inside[parent]

    def _is_inside(self, real: str) -> bool:
        return real.startswith(self._root + os.sep)


def picture_store(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of the image stores ``names`` in ``folder``; None if there is none.

    A remark names files beside it that look like a store but are not read.
    """
    store = first_existing(folder, names)
    known = {name.partition(".")[0].lower() for name in names} | _STORES
    beside = [
        entry.name + "/" * entry.is_dir()
        for entry in sorted(folder.iterdir() if folder.is_dir() else ())
        if entry.name not in names and entry.name.partition(".")[0].lower() in known
        if entry.is_dir() or entry.name.lower().endswith(_ARCHIVES)
    ]
    if beside:
        read = (
            f"no pictures: looked for {', '.join(names)}" if store is None else f"pictures are {store.name}"
        )
        remark(f"{read}; beside it, not read: {', '.join(beside)}. Unpack or rename what is meant")
    return store


def first_existing(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of these names that exists in ``folder``; None if there is none."""
    return next((folder / name for name in names if (folder / name).exists()), None)
