"""Images in files that cannot be read in place: copied once into a plain tar in the cache.

So a zip, or a table with images, is read in random order like a tar. The tar is named by the content of its
source.
"""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.datasets.files.archives import MAX_RATIO, SMALL, content_name

_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")  # of a zip with and without members
_UTF8 = 0x800  # flag of a member that declares its name's encoding
_AGAIN = "Fetch the archive again"


def is_zip(path: Path) -> bool:
    """Return whether a file starts like a zip."""
    with path.open("rb") as f:
        return f.read(4) in _BEGINNINGS


def as_tar(path: Path, suffixes: Collection[str], max_bytes: int) -> Path:
    """Return a tar of the images in a zip, by their ``suffixes``, each of at most ``max_bytes``.

    Raises DataError for a zip that is truncated, broken, encrypted, or unpacks to more than ``MAX_RATIO``
    times its size, and for members outside of it or that are not plain files.
    """
    return tar_of([path], "zip", lambda: _pictures(path, suffixes, max_bytes))


def tar_of(files: Iterable[Path], kind: str, pictures: Callable[[], Iterable[tuple[str, bytes]]]) -> Path:
    """Return a tar in the cache with ``pictures`` (name, bytes), which are the ``kind`` of ``files``.

    Raises DataError if the cache cannot be written.
    """
    contents = [content_name(file) for file in files]
    place = cache_dir() / "archives" / f"{fingerprint(kind, contents)}.tar"
    if place.exists():
        return place
    with atomic(place) as temporary:
        try:
            with tarfile.open(temporary, "w:") as archive:
                for name, data in pictures():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        except OSError as error:
            remedy = "Make room there, or set RECSIM_CACHE to a larger disk"
            raise DataError(
                f"cannot be written ({error.strerror})", file=place.parent, remedy=remedy
            ) from error
    return place


def _pictures(path: Path, suffixes: Collection[str], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(name_of(info), info) for info in archive.infolist() if not info.is_dir()]
            images = [(n, i) for n, i in members if PurePosixPath(n).suffix.lower() in suffixes]
            _check_size(path, sum(info.file_size for _, info in images))
            for name, info in bar(images, f"unpacking {path.name} once", unit="pictures"):
                _check(path, name, info, max_bytes)
                yield name, archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"the archive is cut off or broken ({error})", file=path, remedy=_AGAIN) from error


def name_of(info: zipfile.ZipInfo) -> str:
    """Return a member's name; old tools wrote UTF-8 without declaring it."""
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _check_size(path: Path, unpacked: int) -> None:
    size = path.stat().st_size
    most = max(SMALL, MAX_RATIO * size)
    if unpacked > most:
        raise DataError(
            f"at most {most:,} bytes are unpacked from {size:,}, this archive has more",
            file=path,
            remedy="Unpack it by hand if you trust it, and name the folder",
        )


def _check(path: Path, name: str, info: zipfile.ZipInfo, max_bytes: int) -> None:
    place, mode = PurePosixPath(name), info.external_attr >> 16
    wrong = None
    if place.is_absolute() or ".." in place.parts:
        wrong = "its name leads out of the archive"
    elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        wrong = "it is neither a plain file nor a folder"
    elif info.flag_bits & 0x1:
        wrong = "it is locked by a password"
    elif info.file_size > max_bytes:
        wrong = f"a picture of at most {max_bytes:,} bytes is wanted, it has {info.file_size:,}"
    if wrong:
        raise DataError(
            f"member {name!r} is refused: {wrong}", file=path, remedy="Pack plain files with relative names"
        )
