"""Images of a catalogue, read lazily from a folder or a tar; members are never extracted.

Downloads are not trusted: names must stay inside the folder or archive, links and devices are rejected, and
an image is decoded within limits of bytes and pixels.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.store import cached_array, file_state, fingerprint
from recsim_gen.datasets.files.archives import is_gzip, unpacked
from recsim_gen.datasets.files.boxes import Box, cropped
from recsim_gen.datasets.files.decoding import REPLACE, decode
from recsim_gen.datasets.files.image_cache import Recent
from recsim_gen.datasets.files.litter import is_copy, is_litter
from recsim_gen.datasets.files.names import clean_name
from recsim_gen.datasets.files.remarks import remark
from recsim_gen.datasets.files.zips import as_tar, is_zip

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 64 * 2**20
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"})
OTHERS = frozenset({".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd"})
"""Suffixes of image formats that are not supported."""

_BLOCK = 512  # bytes: the unit of a tar
_CHUNK = 2**20  # bytes
_AGAIN = "Fetch the archive again"
_READABLE = "Make the folder readable"


@dataclass(frozen=True)
class Member:
    """One image file: ``size`` bytes at ``offset`` of ``file``; ``name`` is for messages.

    ``stem`` is its name without suffix, ``folders`` are its folders inside the opened folder or tar; both as
    cleaned by ``names``. ``box`` is the part of it that is the image; None: all.
    """

    file: Path
    name: str
    stem: str
    offset: int
    size: int
    folders: tuple[str, ...] = ()
    box: Box | None = None

    @property
    def file_name(self) -> str:
        """Cleaned name with suffix, without folders."""
        return clean_name(self.name.rpartition("/")[2].rpartition(os.sep)[2])

    @property
    def suffix(self) -> str:
        """The suffix in lower case: ``".jpg"``."""
        return os.path.splitext(self.file_name)[1].lower()

    def read(self) -> bytes:
        """Return the raw bytes. Raises DataError if they cannot be read in full, or are too many."""
        if self.size > MAX_BYTES:
            raise DataError(
                f"a picture of at most {MAX_BYTES:,} bytes is wanted, got {self.size:,}",
                file=self.name,
                remedy=REPLACE,
            )
        try:
            with self.file.open("rb") as f:  # opened for each read: safe in threads and forked workers
                f.seek(self.offset)
                data = f.read(self.size)
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", file=self.name, remedy=REPLACE) from error
        if len(data) < self.size:
            raise DataError(
                f"{self.size:,} bytes are wanted, got {len(data):,}", file=self.name, remedy=_AGAIN
            )
        return data


class ImageFiles:
    """The images of catalogue rows: an ``ImageReader``; safe to use in threads and workers.

    ``members`` whose stem is not an item id are ignored and counted in ``unmatched``, their stems are in
    ``strays``. Raises DataError if two members have the stem of one item.
    """

    def __init__(self, members: Sequence[Member], item_ids: np.ndarray) -> None:
        row_of = {item: row for row, item in enumerate(item_ids.tolist())}
        self._members: dict[int, Member] = {}
        self.strays: list[str] = []
        for member in members:
            row = row_of.get(member.stem)
            if row is None:
                self.strays.append(member.stem)
                continue
            if row in self._members:
                raise DataError(
                    f"one picture for item {member.stem!r} is wanted, {self._members[row].name} is another",
                    file=member.name,
                    remedy="Remove one of the two",
                )
            self._members[row] = member
        self._item_ids = item_ids
        self._recent = Recent()

    @property
    def unmatched(self) -> int:
        """Number of images that belong to no item."""
        return len(self.strays)

    @cached_property
    def present(self) -> np.ndarray:
        """Return (n,) bool: rows that have an image."""
        mask = np.zeros(len(self._item_ids), dtype=bool)
        mask[list(self._members)] = True
        mask.setflags(write=False)
        return mask

    def read(self, row: int) -> Image.Image:
        """Return the image of a row as RGB. Raises DataError if there is none or it is broken."""
        member = self.member(row)
        return self._recent.get(int(row), lambda: _decoded(member))

    def member(self, row: int) -> Member:
        """Return the file of a row's image, for copying. Raises DataError if there is none."""
        member = self._members.get(int(row))
        if member is None:
            raise DataError(
                f"item {str(self._item_ids[row])!r} has no picture", remedy="Check `present` first"
            )
        return member

    @cached_property
    def fingerprint(self) -> str:
        """Hash of item ids and the content of their images, independent of the location."""
        boxes = [self._members[row].box for row in sorted(self._members)]
        return fingerprint(self._item_ids[self.present], self.digests, *([boxes] if any(boxes) else []))

    @cached_property
    def digests(self) -> np.ndarray:
        """Return (p, 16) uint8: BLAKE2 hash of the raw bytes of each image that is present, by row.

        The bytes are read once per state (names, `file_state`) of the files.
        """
        rows = sorted(self._members)
        return cached_array("image-digests", self._state(rows), lambda: self._digests(rows))

    def _digests(self, rows: list[int]) -> np.ndarray:
        shown = bar(rows, "reading pictures once", unit="pictures")
        digests = [hashlib.blake2b(self._members[row].read(), digest_size=16).digest() for row in shown]
        return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(rows), 16)

    def _state(self, rows: list[int]) -> str:
        members = [self._members[row] for row in rows]
        files = dict.fromkeys(m.file for m in members)  # many members share a tar
        folders = {folder: str(folder.resolve()) for folder in dict.fromkeys(f.parent for f in files)}
        changed = np.array([file_state(f) for f in files], dtype=np.uint64)
        places = np.array([(m.offset, m.size) for m in members], dtype=np.int64)  # arrays are hashed faster
        names = np.array([m.name for m in members], dtype=str)
        return fingerprint([*folders.values()], [f.name for f in files], changed, names, places)


def _decoded(member: Member) -> Image.Image:
    image = decode(member.read(), member.name)
    return image if member.box is None else cropped(image, member.box, member.name)


def open_images(path: str | Path, item_ids: np.ndarray) -> ImageFiles:
    """Open the images in a folder (with its subfolders), a tar or a zip, named ``<item id>.<suffix>``.

    ``item_ids`` (n,) str. A ``.tar.gz`` or ``.zip`` is unpacked once, see ``archives``. Raises DataError for
    anything else, for an archive that is truncated or compressed otherwise, and for members outside of it.
    """
    return ImageFiles(list_members(path), item_ids)


def list_members(path: str | Path) -> list[Member]:
    """List the image files in a folder (with its subfolders), a tar or a zip; none is decoded.

    Hidden files and files of programs (see ``litter``) are ignored, and so are images of ``OTHERS``; a remark
    counts them. Raises DataError as ``open_images`` does.
    """
    path = Path(path)
    if path.is_dir():
        return _pictures(path, _folder_members(path))
    if path.is_file() and is_gzip(path):
        tar = unpacked(path, lambda tar: deque(_tar_members(tar, path), 0))
        return _pictures(path, _tar_members(tar, path))
    if path.is_file() and is_zip(path):
        return _pictures(path, _tar_members(as_tar(path, SUFFIXES, MAX_BYTES), path))
    if path.is_file():
        return _pictures(path, _tar_members(path, path))
    raise DataError(
        "a folder or tar of pictures is wanted, got nothing", file=path, remedy="Correct the path"
    )


def _pictures(path: Path, listed: Iterable[Member]) -> list[Member]:
    """Return the members that are data; a remark counts the others."""
    data: list[Member] = []
    litter: list[Member] = []
    for member in listed:
        (litter if any(map(is_litter, (*member.folders, member.file_name))) else data).append(member)
    stems: dict[tuple[str, ...], set[str]] = {}
    for member in data:
        stems.setdefault(member.folders, set()).add(member.stem)
    litter += [m for m in data if is_copy(m.stem, stems[m.folders])]
    data = [m for m in data if not is_copy(m.stem, stems[m.folders])]
    if litter:
        remark(
            f"{path.name}: {len(litter):,} pictures left aside: hidden, or a program's own copies, such as "
            f"{'/'.join((*litter[0].folders, litter[0].file_name))}"
        )
    unread = [m for m in data if m.suffix in OTHERS]
    if unread:
        kinds = ", ".join(sorted({m.suffix for m in unread}))
        remark(
            f"{path.name}: {len(unread):,} pictures left aside: {kinds} is not read, save them as JPEG or PNG"
        )
    return [m for m in data if m.suffix in SUFFIXES]


def _folder_members(folder: Path) -> Iterator[Member]:
    """Yield the members sorted by name within each folder; folders that are links are not entered."""
    root = folder.resolve()
    waiting: list[tuple[str, tuple[str, ...]]] = [(str(folder), ())]
    while waiting:
        place, inside = waiting.pop()
        try:
            with os.scandir(place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot be listed ({error.strerror})", file=place, remedy=_READABLE) from error
        below = [e for e in entries if e.is_dir(follow_symlinks=False)]
        waiting += [(e.path, (*inside, clean_name(e.name))) for e in reversed(below)]
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() not in SUFFIXES | OTHERS:
                continue
            if (
                suffix.lower() in SUFFIXES
                and entry.is_symlink()
                and not Path(entry.path).resolve().is_relative_to(root)
            ):
                raise DataError(
                    "the picture is a link out of its folder", file=entry.path, remedy="Copy it inside"
                )
            if entry.is_file():
                size = entry.stat().st_size
                yield Member(Path(entry.path), entry.path, clean_name(stem), 0, size, inside)


def _tar_members(path: Path, named: Path) -> Iterator[Member]:
    """Yield the members of a tar, or of several concatenated ones, with a valid end; no data is read.

    ``named`` is its name for messages.
    """
    start: int | None = 0
    while start is not None:
        end = yield from _one_tar(path, named, start)
        start = _next_tar(path, named, end)


def _one_tar(path: Path, named: Path, start: int) -> Generator[Member, None, int]:
    """Yield the members of the tar that begins at byte ``start``; return where they end."""
    length = path.stat().st_size
    end = start
    try:
        with path.open("rb") as f, tarfile.open(fileobj=_at(f, start), mode="r:") as archive:
            for info in archive:
                _check_inside(info, named)
                if info.offset < end or info.size < 0 or info.offset_data + info.size > length:
                    raise DataError(
                        f"the archive is cut off or broken at {info.name}", file=named, remedy=_AGAIN
                    )
                end = info.offset_data + -(-info.size // _BLOCK) * _BLOCK
                name = PurePosixPath(info.name)
                if info.isreg() and name.suffix.lower() in SUFFIXES | OTHERS:
                    shown, inside = f"{named}:{name}", tuple(map(clean_name, name.parent.parts))
                    stem = clean_name(name.stem)
                    yield Member(path, shown, stem, info.offset_data, info.size, inside)
    except (tarfile.ReadError, ValueError, OverflowError, MemoryError) as error:  # invalid sizes in headers
        raise _not_a_tar(path, named, error) from error
    return end


def _at(f: BinaryIO, start: int) -> BinaryIO:
    f.seek(start)
    return f


def _next_tar(path: Path, named: Path, end: int) -> int | None:
    """Return where another tar begins after the end mark at byte ``end``; None if only zeros follow.

    A tar ends in blocks of zeros. tarfile itself takes any broken header for the end.
    """
    with path.open("rb") as f:
        if _at(f, end).read(_BLOCK) != bytes(_BLOCK):
            raise DataError("the archive is cut off: its end mark is missing", file=named, remedy=_AGAIN)
        while chunk := f.read(_CHUNK):
            if rest := chunk.lstrip(b"\0"):
                place = f.tell() - len(rest)
                return place - (place - end) % _BLOCK
    return None


def _check_inside(info: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(info.name)
    wrong = None
    if name.is_absolute() or ".." in name.parts:
        wrong = "its name leads out of the archive"
    elif not (info.isreg() or info.isdir()) or info.issparse():
        wrong = "it is neither a plain file nor a folder"
    if wrong:
        raise DataError(
            f"member {info.name!r} is refused: {wrong}",
            file=path,
            remedy="Pack plain files with relative names",
        )


def _not_a_tar(path: Path, named: Path, error: Exception) -> DataError:
    with path.open("rb") as f:
        start = f.read(_BLOCK)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        problem = "a plain tar or one packed by gzip is wanted, got another compression"
        remedy = "Unpack it"
    elif start[257:262] == b"ustar":  # it starts like a tar
        problem, remedy = f"the archive is cut off ({error})", _AGAIN
    else:
        problem, remedy = f"a tar or a folder of pictures is wanted ({error})", _AGAIN
    return DataError(problem, file=named, remedy=remedy)
