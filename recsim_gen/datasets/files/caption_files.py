"""Caption files (CSV or JSON), and datasets opened with them.

Kinds: ``target`` (item id: content of its image), ``style`` (item id: its look), ``history`` (episode id: the
styles in its history). JSON: ``{kind: {id: caption}}``; CSV: ``kind,id,caption``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import atomic, write_json
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.json_files import Fields, read_json
from recsim_gen.datasets.files.names import likely
from recsim_gen.datasets.files.tables import read_table

KINDS = ("target", "style", "history")
SUFFIXES = (".csv", ".json")

Captions = Mapping[str, Mapping[str, str]]
"""{kind: {id: caption}}."""


def check_suffix(path: str | Path) -> None:
    """Raise SettingError if the file name ends in neither .csv nor .json."""
    if Path(path).suffix not in SUFFIXES:
        raise SettingError(f"captions go into FILE.csv or FILE.json, got {str(path)!r}")


def write_captions(path: str | Path, captions: Captions) -> None:
    """Write CSV or JSON, atomically."""
    import pandas as pd

    check_suffix(path)
    if Path(path).suffix == ".json":
        write_json(path, {kind: dict(lines) for kind, lines in captions.items()})
        return
    rows = [(kind, name, line) for kind, lines in captions.items() for name, line in lines.items()]
    with atomic(path) as temporary:
        pd.DataFrame(rows, columns=["kind", "id", "caption"]).to_csv(temporary, index=False)


def read_captions(path: str | Path) -> Captions:
    """Read a file from ``write_captions``, or a file of that form written by hand.

    Raises DataError for a file that is missing or of another form, an unknown kind, and an id with two
    captions of a kind.
    """
    check_suffix(path)
    captions = _from_csv(Path(path)) if Path(path).suffix == ".csv" else _from_json(Path(path))
    for kind in captions:
        if kind not in KINDS:
            raise DataError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}", file=path)
    return captions


def with_captions(dataset: Dataset, path: str | Path) -> Dataset:
    """Return the dataset with the file's target captions; items without one keep their own.

    A blank caption counts as none. Raises DataError as ``read_captions`` does, and for an item that the
    dataset does not have.
    """
    lines = read_captions(path).get("target", {})
    catalog = dataset.catalog
    rows = [catalog.row_of.get(item, -1) for item in lines]
    if -1 in rows:
        lost = [item for item, row in zip(lines, rows, strict=True) if row < 0]
        raise DataError(
            f"item {str(lost[0])!r} is not in {dataset.name}{likely(lost, catalog.row_of)}",
            file=path,
            remedy="Are these its captions?",
        )
    texts = catalog.captions.astype(object)
    filled = [(row, line) for row, line in zip(rows, lines.values(), strict=True) if line.strip()]
    for row, line in filled:
        texts[row] = line
    note = f"captions of {len(filled):,} of {len(catalog):,} items from {Path(path).name}"
    captioned = replace(catalog, captions=np.asarray(texts, dtype=str))
    return replace(dataset, catalog=captioned, notes=(*dataset.notes, note))


def _from_csv(path: Path) -> Captions:
    table = read_table(path, ids=["kind", "id"], texts=["caption"])
    table.refuse_duplicates("kind", "id")
    captions: dict[str, dict[str, str]] = {}
    columns = (table.frame["kind"], table.frame["id"], table.texts("caption").tolist())
    for kind, name, line in zip(*columns, strict=True):
        captions.setdefault(kind, {})[name] = line
    return captions


def _from_json(path: Path) -> Captions:
    top = Fields.of(read_json(path), path, "top level")
    kinds = {kind: top.inner(kind) for kind in top.values}
    return {kind: part.texts() for kind, part in kinds.items() if part}
