"""How galleries lie on a disk: lists of CUB, a CSV, or folders; each gives the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.images import Member, list_members
from recsim_gen.datasets.files.names import clean_name
from recsim_gen.datasets.files.paths import InsidePaths
from recsim_gen.datasets.files.tables import column_names, read_table
from recsim_gen.datasets.files.text_lines import lines_if

EVERYBODY = "all"
"""The group of pictures that have none."""

FILE = ("file", "path", "image", "filename", "file_name", "image_path")
IDENTITY = ("identity", "individual", "label", "class", "name")
GROUP = ("group", "species", "dataset")
_CUB = ("images.txt", "image_class_labels.txt", "classes.txt")
_AS_PUBLISHED = "Fetch the file as published, or correct that line"


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures, whose ``stem`` is a unique name; ``identity`` and ``group`` (n,) str; what was left out."""

    members: tuple[Member, ...]
    identity: np.ndarray
    group: np.ndarray
    notes: tuple[str, ...]


def read_layout(path: Path) -> LabelledImages:
    """The pictures of a gallery, whichever layout it has. Raises DataError where there are none."""
    if all((path / name).is_file() for name in _CUB):
        return _from_cub(path)
    table = table_of(path)
    return _from_folders(path) if table is None else _from_csv(table)


def table_of(path: Path) -> Path | None:
    """The CSV that lists the pictures: ``path`` itself or the only one in it; None: there is none."""
    if path.suffix.lower() == ".csv":
        return path
    tables = sorted(path.glob("*.csv")) if path.is_dir() else []
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables[:5])
        raise DataError(f"one CSV file is wanted, got {names}", file=path, remedy="Name the file itself")
    return tables[0] if tables else None


def _from_folders(path: Path) -> LabelledImages:
    """``[<group>/]<identity>/<picture>``; folders around all of it are no group."""
    listed = list_members(path)
    found = [member for member in listed if member.folders]
    around = _common([member.folders for member in found])
    inner = [member.folders[len(around) :] for member in found]
    members = [
        replace(member, stem="/".join([*folders, member.file_name]))
        for member, folders in zip(found, inner, strict=True)
    ]
    identity = [folders[-1] for folders in inner]
    group = [folders[-2] if len(folders) > 1 else EVERYBODY for folders in inner]
    loose = len(listed) - len(found)
    return _labelled(
        path, members, identity, group, [f"{loose:,} pictures in no folder left out"] if loose else []
    )


def _common(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Leading folders that all paths share, less the last of each path, which is the identity."""
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
    table = read_table(path, ids=ids, spaced=True)
    table.refuse_duplicates(file)
    columns = [table.frame[name].to_numpy(dtype=str) for name in ids]
    rows = list(zip(range(len(table)), *(column.tolist() for column in columns), strict=True))
    inside = InsidePaths(path.parent)
    members, names, groups, missing = [], [], [], 0
    for index, place, name, *rest in rows:
        member = inside.member(place, place, file=path, row=index + 2)
        if member is None:
            missing += 1
            continue
        members.append(member)
        names.append(name)
        groups.append(rest[0] if rest else EVERYBODY)
    return _labelled(path, members, names, groups, _missing(missing))


def column_of(path: Path, header: Sequence[str], known: Sequence[str]) -> str:
    """The first of the ``known`` names that the ``header`` of ``path`` has; DataError where it has none."""
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
    """CUB: numbers tie pictures to species; the group is the last word of a species (wren, tern …)."""
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
    """{number: (row, rest)} of lines of a number and a word."""
    found: dict[str, tuple[int, str]] = {}
    for row, line in lines_if(file, lambda line: bool(line.strip())):
        number, _, rest = clean_name(line).partition(" ")
        if not rest or number in found:
            raise DataError(
                f"a number of its own and a word are wanted, got {line[:80]!r}",
                file=file,
                row=row,
                remedy=_AS_PUBLISHED,
            )
        found[number] = (row, clean_name(rest))
    return found


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
