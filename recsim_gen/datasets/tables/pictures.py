"""Images beside tables: several folders and archives joined, by item id or by a column of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.images import SUFFIXES, ImageFiles, Member, list_members
from recsim_gen.datasets.files.litter import is_litter
from recsim_gen.datasets.files.names import likely
from recsim_gen.datasets.files.paths import InsidePaths
from recsim_gen.datasets.tables.columns import NONE

LOOKED_FOR = "images/, images.tar, images.tar.gz, images.zip, also numbered (images_1.tar)"
_STORE = re.compile(r"images?([-_]?\d+)?(\.tar|\.tar\.gz|\.tgz|\.zip)?", re.IGNORECASE)
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
TOLD = 3


@dataclass(frozen=True, eq=False)
class Pictures:
    """``reader`` of the catalogue's images, None if there are none; ``stores`` that were read.

    ``defects`` and ``notes`` are sentences.
    """

    reader: ImageFiles | None
    stores: tuple[Path, ...] = ()
    defects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def stores(folder: Path, given: str | None) -> tuple[Path, ...]:
    """Return the folders and archives of images: ``given``, separated by commas, or those called images.

    Raises DataError for a given one that does not exist.
    """
    if given == NONE:
        return ()
    if given is None:
        return tuple(sorted(path for path in folder.iterdir() if _STORE.fullmatch(path.name)))
    paths = []
    for name in filter(None, map(str.strip, given.split(","))):
        inside = folder / name
        path = inside if inside.exists() else Path(name).expanduser()
        if not path.exists():
            raise DataError("pictures are wanted there, got nothing", file=inside, remedy="Correct images")
        paths.append(path)
    return tuple(paths)


def open_pictures(folder: Path, found: Sequence[Path], ids: np.ndarray, files: np.ndarray | None) -> Pictures:
    """Return the images in the stores ``found``, named by ``ids`` (n,) or by the column ``files`` (n,).

    Paths of the column are relative to ``folder`` or to a store. Raises DataError if there are images, or
    files in the column, but no item has one.
    """
    members = [(store, member) for store in found for member in list_members(store)]
    if files is None:
        chosen = [member for _, member in members]
        reader, known = ImageFiles(chosen, ids), set(ids.tolist())
        unused = [member for member in chosen if member.stem not in known]
        notes: tuple[str, ...] = ()
    else:
        chosen, notes = _by_column(folder, members, ids, files)
        reader = ImageFiles(chosen, ids)
        used = {(member.file, member.offset) for member in chosen}
        unused = [member for _, member in members if (member.file, member.offset) not in used]
        reader.strays = [member.stem for member in unused]
    if not reader.present.any():
        return _without(folder, members, ids, files, notes)
    return Pictures(reader, tuple(found), (*notes, *_counted(reader, unused)), (_read(found, len(members)),))


def others(folder: Path, aside: Sequence[Path]) -> str:
    """Return a sentence about folders and archives that may hold images, except ``aside``."""
    known = set(aside)
    places = []
    for path in sorted(folder.iterdir()):
        if path in known or is_litter(path.name):
            continue
        if path.is_dir() and (count := _count(path)):
            places.append(f"{path.name}/ with {count:,} pictures")
        elif path.is_file() and path.name.lower().endswith(_ARCHIVES):
            places.append(path.name)
    loose = sum(_is_picture(path) for path in folder.iterdir())
    if loose:
        places.append(f"{loose:,} pictures in {folder.name}/ itself")
    return " and ".join(places)


def _count(folder: Path) -> int:
    return sum(map(_is_picture, folder.rglob("*")))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not is_litter(path.name)


def _read(found: Sequence[Path], n: int) -> str:
    where = ", ".join(path.name + ("/" if path.is_dir() else "") for path in found)
    return f"{n:,} pictures in {where or 'the files that the table names'}"


def _counted(reader: ImageFiles, unused: Sequence[Member]) -> tuple[str, ...]:
    missing = int((~reader.present).sum())
    sentences = []
    if missing:
        sentences.append(
            f"{missing:,} of {len(reader.present):,} items without picture: mean feature, flagged as absent"
        )
    if unused:
        shown = ", ".join(_file_name(member) for member in unused[:TOLD])
        sentences.append(f"{len(unused):,} pictures are of no item of the table, such as {shown}")
    return tuple(sentences)


def _without(
    folder: Path,
    members: Sequence[tuple[Path, Member]],
    ids: np.ndarray,
    files: np.ndarray | None,
    notes: tuple[str, ...],
) -> Pictures:
    """Handle that no item has an image: a note, or an error if images were given."""
    if members and files is None:
        stems = np.unique([member.stem for _, member in members])
        raise DataError(
            f"pictures named <item id>.jpg are wanted: none of the {len(members):,} pictures is, first "
            f"{_file_name(members[0][1])!r}, first item {str(ids[0])!r}"
            f"{likely(stems.tolist(), ids.tolist())}",
            file=members[0][0],
            remedy="Rename them, or give each item's file in a column image of the items",
        )
    if files is not None and (files != "").any():
        raise DataError(
            f"pictures are wanted, none of the files that the items name is there: {'; '.join(notes)}",
            file=folder,
            remedy="Name files relative to the folder, or leave them out: --data-settings.images none",
        )
    beside = others(folder, ())
    there = f"; there is {beside}: --data-settings.images NAME takes it" if beside else ""
    return Pictures(None, (), (f"no pictures: looked for {LOOKED_FOR}{there}",))


def _by_column(
    folder: Path, members: Sequence[tuple[Path, Member]], ids: np.ndarray, files: np.ndarray
) -> tuple[list[Member], tuple[str, ...]]:
    """Return the member that each item names, and sentences about missing files."""
    place_of: dict[str, Member] = {}
    tops: dict[Path, set[tuple[str, ...]]] = {}
    for store, member in members:
        tops.setdefault(store, set()).add(member.folders[:1])
    for store, member in members:
        path = "/".join([*member.folders, _file_name(member)])
        names = [path, f"{_stem(store)}/{path}"]
        if len(tops[store]) == 1 and member.folders:  # a single folder around the archive's content
            names += [path.partition("/")[2], f"{_stem(store)}/{path.partition('/')[2]}"]
        for name in names:
            place_of.setdefault(name, member)
    inside = InsidePaths(folder)
    chosen: list[Member] = []
    missing: list[str] = []
    addresses = 0
    for item, text in zip(ids.tolist(), files.tolist(), strict=True):
        if not text:
            continue
        if _ADDRESS.match(text):
            addresses += 1
            continue
        path = text.replace("\\", "/").removeprefix("./")
        place = place_of.get(path) or inside.member(path, item, file=folder, row=f"item {item}")
        if place is None:
            missing.append(text)
        else:
            chosen.append(replace(place, stem=item))
    notes = []
    if missing:
        notes.append(f"{len(missing):,} files that the items name are not there, such as {str(missing[0])!r}")
    if addresses:
        notes.append(f"{addresses:,} items name an address of the web: nothing is fetched")
    return chosen, tuple(notes)


def _file_name(member: Member) -> str:
    return PurePosixPath(member.name.rpartition(":")[2]).name


def _stem(store: Path) -> str:
    """Return ``images`` of ``images/`` and of ``images.tar.gz``."""
    return store.name if store.is_dir() else store.name.partition(".")[0]
