"""Detects which layouts fit a folder, for messages about wrong paths."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from recsim_gen.core.errors import DataError

LAYOUTS = {
    "csv": ("items.[ct]sv", "interactions.[ct]sv"),
    "recbole": ("*.inter",),
    "hf": ("items*", "interactions*"),
    "movielens": ("movies.csv", "ratings.csv"),
    "unified": ("test.json",),
    "pog": ("user_data.txt", "item_data.txt"),
    "ser30k": ("Annotations",),
    "flickr-aes": ("FLICKR-AES_image_labeled_by_each_worker.csv",),
    "pmg-movieposter": ("info.csv", "ratings.csv"),
    "pmg-pog": ("user_data.csv", "item_data.csv"),
    "pmg-ser30k": ("annotations", "captions.json"),
}
"""File patterns of each layout, most likely layouts first."""

_TABLES = (".csv", ".tsv", ".parquet", ".arrow", ".inter", ".item", ".json", ".txt")
_MANY = 8


def fitting(folder: Path) -> list[str]:
    """Return the layouts whose files are all in ``folder``."""
    names = [path.name for path in folder.iterdir()]
    fits = [
        layout
        for layout, patterns in LAYOUTS.items()
        if all(any(fnmatch(name, pattern) for name in names) for pattern in patterns)
    ]
    parquet = any(path.suffix in (".parquet", ".arrow") for path in folder.rglob("*"))
    return [layout for layout in fits if layout != "hf" or parquet]


def advice(folder: Path) -> str:
    """Return what is in ``folder``, and how to name the layouts that fit it."""
    if not folder.is_dir():
        return ""
    layouts = fitting(folder)
    if layouts:
        names = {n for layout in layouts for n in _present(folder, LAYOUTS[layout])}
        written = " or ".join(f"--data {layout}:{folder}" for layout in layouts)
        return f"{_listed(sorted(names))} {'is' if len(names) == 1 else 'are'} there: {written}"
    return (
        f"{_contents(folder)}. Known layouts: {', '.join(f'{layout}:DIR' for layout in LAYOUTS)}, gallery:DIR"
    )


def missing(layout: str, folder: Path, what: str = "a folder", looked_for: str = "") -> DataError:
    """Return the error for ``what`` a layout needs and ``folder`` lacks, with what is there instead."""
    sought = f"{what} is wanted" + (f": looked for {looked_for}" if looked_for else "")
    if folder.is_file():
        return DataError(f"{sought}, got a file", file=folder, remedy=f"Write {layout}:{folder.parent}")
    if not folder.exists():
        return DataError(f"{sought}, there is none", file=folder, remedy="Correct the path")
    return DataError(sought, file=folder, remedy=advice(folder))


def _present(folder: Path, patterns: Iterable[str]) -> list[str]:
    return [p.name for p in folder.iterdir() if any(fnmatch(p.name, pattern) for pattern in patterns)]


def _contents(folder: Path) -> str:
    tables = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in _TABLES)
    rest = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if p.name not in tables)
    names = [*tables, *(name for name in rest if not name.startswith("."))]
    return f"There is {_listed(names)}" if names else "It is empty"


def _listed(names: list[str]) -> str:
    shown = [*names[:_MANY], *([f"{len(names) - _MANY:,} more"] if len(names) > _MANY else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
