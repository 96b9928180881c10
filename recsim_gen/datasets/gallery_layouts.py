"""Layouts of galleries: lists of CUB, a CSV, or folders; each is read into the same columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.boxes import column_of_boxes, read_boxes
from recsim_gen.datasets.files.images import Member, list_members
from recsim_gen.datasets.files.litter import is_litter
from recsim_gen.datasets.files.names import clean_name
from recsim_gen.datasets.files.paths import InsidePaths
from recsim_gen.datasets.files.remarks import remark
from recsim_gen.datasets.files.tables import column_names, read_table
from recsim_gen.datasets.files.text_lines import lines_if

EVERYBODY = "all"
"""Group of images without one."""

FILE = ("file", "path", "image", "filename", "file_name", "image_path")
IDENTITY = ("identity", "individual", "label", "class", "name")
GROUP = ("group", "species", "dataset")
_CUB = ("images.txt", "image_class_labels.txt", "classes.txt")
_SPLIT = re.compile(
    r"((images?|bounding_box|bbox|gt)_)?"
    r"(train|training|trainval|test|testing|val|valid|validation|dev|query|gallery|bbox)"
    r"(_(set|images?|data))?"
)
"""Folder names of splits, for classification and re-identification (Market-1501: query …)."""

_REID = re.compile(r"(-1|\d+)_?c\d+", re.IGNORECASE)
"""File names of re-identification: 0002_c1s1_000451_03.jpg shows 0002 (Market-1501, DukeMTMC, VeRi, MARS)."""

_NOBODY = ("-1", "0000")
"""Junk and background in Market-1501."""

_AS_PUBLISHED = "Fetch the file as published, or correct that line"


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images, whose ``stem`` is a unique name; ``identity`` and ``group`` (n,) str; notes on omissions."""

    members: tuple[Member, ...]
    identity: np.ndarray
    group: np.ndarray
    notes: tuple[str, ...]


def read_layout(path: Path) -> LabelledImages:
    """Return the images of a gallery in any supported layout. Raises DataError if there are none."""
    if all((path / name).is_file() for name in _CUB):
        return _from_cub(path)
    table = table_of(path)
    return _from_folders(path) if table is None else _from_csv(table)


def table_of(path: Path) -> Path | None:
    """Return the CSV that lists the images: ``path`` itself or the only one in it; None if there is none."""
    if path.suffix.lower() == ".csv":
        return path
    tables = sorted(t for t in path.glob("*.csv") if not is_litter(t.name)) if path.is_dir() else []
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables[:5])
        raise DataError(f"one CSV file is wanted, got {names}", file=path, remedy="Name the file itself")
    return tables[0] if tables else None


def _from_folders(path: Path) -> LabelledImages:
    """Read ``[<group>/]<identity>/<picture>``; enclosing folders and folders of splits are not groups."""
    listed = list_members(path)
    around = len(_common([member.folders for member in listed if member.folders]))
    labels, notes = _labels([(member.folders[around:], member.stem) for member in listed])
    members, identity, group = [], [], []
    for member, label in zip(listed, labels, strict=True):
        if label is not None:
            members.append(replace(member, stem="/".join([*member.folders[around:], member.file_name])))
            identity.append(label[0])
            group.append(label[1])
    return _labelled(path, members, identity, group, notes)


def _labels(
    places: Sequence[tuple[tuple[str, ...], str]],
) -> tuple[list[tuple[str, str] | None], list[str]]:
    """Return (identity, group) of each image by its folders and name, None if it has none; and notes."""
    folders = _without_splits([inside for inside, _ in places])
    around = len(_common([inside for inside in folders if inside]))
    folders = [inside[around:] for inside in folders]
    numbers = [_REID.match(stem) for _, stem in places]
    if len(set(folders)) == 1 and all(numbers):  # all in one folder: file names give the identity
        labels = [(n[1], EVERYBODY) if n and n[1] not in _NOBODY else None for n in numbers]
        nobody = sum(label is None for label in labels)
        remark("identities are read from names as of re-identification: 0002_c1s1_000451_03.jpg shows 0002")
        note = f"{nobody:,} pictures of {' and '.join(_NOBODY)} (no person, in Market-1501) left out"
        return labels, [note] if nobody else []
    named = [
        (inside[-1], inside[-2] if len(inside) > 1 else EVERYBODY) if inside else None for inside in folders
    ]
    loose = sum(label is None for label in named)
    return named, [f"{loose:,} pictures in no folder left out"] if loose else []


def _without_splits(folders: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the folders of each image without those of a split.

    A folder with images directly in it is an identity that happens to be called ``test``, unless there are
    splits above identities too, or every image is in such a folder.
    """
    above = {name for inside in folders for name in inside[:-1] if _is_split(name)}
    last = {inside[-1] for inside in folders if inside}
    all_splits = bool(last) and all(map(_is_split, last))
    split = above | {name for name in last if _is_split(name) and (above or all_splits)}
    if split:
        remark(
            f"folders {', '.join(sorted(split))} are splits, no identities or groups: their pictures are "
            "joined"
        )
    return [tuple(name for name in inside if name not in split) for inside in folders]


def _is_split(name: str) -> bool:
    return _SPLIT.fullmatch(name.lower().replace("-", "_").replace(" ", "_")) is not None


def _common(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the leading folders that all paths share, excluding the last one, which is the identity."""
    shared: list[str] = []
    for level in zip(*(f[:-1] for f in folders), strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)


def _from_csv(path: Path) -> LabelledImages:
    header = column_names(path)
    file, identity = column_of(path, header, FILE), column_of(path, header, IDENTITY)
    group = next((name for name in GROUP if name in header), None)
    ids = [name for name in (file, identity, group) if name is not None]
    bbox = column_of_boxes(header, path)
    table = read_table(path, ids=ids, texts=[bbox] if bbox else [], spaced=True)
    table.refuse_duplicates(file)
    boxes = read_boxes(table, bbox) if bbox else [None] * len(table)
    columns = [table.frame[name].to_numpy(dtype=str) for name in ids]
    rows = list(zip(range(len(table)), *(column.tolist() for column in columns), strict=True))
    inside = InsidePaths(path.parent)
    members, names, groups, missing = [], [], [], 0
    for index, place, name, *rest in rows:
        member = inside.member(place, place, file=path, row=index + 2)
        if member is None:
            missing += 1
            continue
        members.append(replace(member, box=boxes[index]))
        names.append(name)
        groups.append(rest[0] if rest else EVERYBODY)
    return _labelled(path, members, names, groups, [*_missing(missing), *_boxed(members)])


def column_of(path: Path, header: Sequence[str], known: Sequence[str]) -> str:
    """Return the first of the ``known`` names that is in ``header``; raises DataError if there is none."""
    for name in known:
        if name in header:
            return name
    raise DataError(
        f"a column {known[0]} is wanted (or {', '.join(known[1:])}), got {', '.join(header)}",
        file=path,
        row=1,
        remedy="Correct the header line",
    )


def _from_cub(path: Path) -> LabelledImages:
    """Read CUB: numbers link images to species; the group is the last word of a species (wren, tern …)."""
    files, labels, classes = (_numbered(path / name) for name in _CUB)
    inside = InsidePaths(path / "images")
    members, identity, missing = [], [], 0
    for number, (row, place) in files.items():
        _, label = labels.get(number, (0, ""))
        _, species = classes.get(label, (0, ""))
        if not species:
            raise DataError(
                f"picture {number} has no species", file=path / _CUB[0], row=row, remedy=_AS_PUBLISHED
            )
        member = inside.member(place, place, file=path / _CUB[0], row=row)
        if member is None:
            missing += 1
            continue
        members.append(member)
        identity.append(species.partition(".")[2] or species)
    group = [name.replace("-", "_").rpartition("_")[2].lower() for name in identity]
    return _labelled(path, members, identity, group, _missing(missing))


def _numbered(file: Path) -> dict[str, tuple[int, str]]:
    """Return {number: (row, rest)} of lines of a number and a word."""
    lines: dict[str, tuple[int, str]] = {}
    for row, line in lines_if(file, lambda line: bool(line.strip())):
        number, _, rest = clean_name(line).partition(" ")
        if not rest or number in lines:
            raise DataError(
                f"a number of its own and a word are wanted, got {line[:80]!r}",
                file=file,
                row=row,
                remedy=_AS_PUBLISHED,
            )
        lines[number] = (row, clean_name(rest))
    return lines


def _boxed(members: Sequence[Member]) -> list[str]:
    count = sum(member.box is not None for member in members)
    return [f"{count:,} pictures are what lies inside their box (column bbox)"] if count else []


def _missing(count: int) -> list[str]:
    return [f"{count:,} pictures that are listed do not exist: left out"] if count else []


def _labelled(
    path: Path, members: list[Member], identity: list[str], group: list[str], notes: list[str]
) -> LabelledImages:
    if not members:
        raise DataError(
            "pictures in folders named by identity, a CSV, or the lists of CUB are wanted, got none",
            file=path,
            remedy="Put each identity's pictures into a folder of its own",
        )
    return LabelledImages(
        tuple(members), np.array(identity, dtype=str), np.array(group, dtype=str), tuple(notes)
    )
