"""A toy shop in each of the layouts that everybody can write: lamps, mugs and rugs, and who took what."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("lamp", "mug", "rug")
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "green": (40, 160, 60), "yellow": (230, 200, 40)}
ITEMS, PEOPLE, EACH = 36, 24, 8

Row = dict[str, Any]


def items(n: int = ITEMS) -> list[Row]:
    """Rows of the table of items."""
    rows = []
    for k in range(n):
        kind, colour = KINDS[k % 3], list(COLOURS)[k // 3 % 4]
        rows.append({"id": f"{kind}{k}", "title": f"{colour.title()} {kind} no. {k}", "category": kind})
    return rows


def items_without_words(n: int = ITEMS) -> list[Row]:
    """The same without titles."""
    return [{"id": row["id"], "category": row["category"]} for row in items(n)]


def log(n: int = ITEMS, people: int = PEOPLE, each: int = EACH) -> list[Row]:
    """Rows of the table of choices: everybody likes one kind best."""
    names, rows = [row["id"] for row in items(n)], []
    for person in range(people):
        draw = np.random.default_rng(person)
        liking = draw.gumbel(size=n) + 2.0 * (np.arange(n) % 3 == person % 3)
        for k, row in enumerate(np.argsort(-liking)[:each]):
            time = 1_700_000_000 + 86_400 * k + person
            rows.append({"user": f"u{person}", "item": names[row], "time": time, "rating": 3 + (k + row) % 3})
    return rows


def picture(k: int) -> bytes:
    """A file of the look of item ``k``: its kind's shape in its colour."""
    pixels = np.full((24, 24, 3), 255, dtype=np.uint8)
    y, x = np.mgrid[:24, :24]
    shape = ((x - 12) ** 2 + (y - 12) ** 2 < 90, abs(x - 12) + abs(y - 12) < 11, (x > 4) & (y > 8) & (y < 18))
    pixels[shape[k % 3]] = list(COLOURS.values())[k // 3 % 4]
    pixels[0, 0] = (k, 0, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_table(file: Path, rows: Sequence[Row], separator: str = ",") -> Path:
    """A CSV file."""
    with file.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_images(folder: Path, n: int = ITEMS) -> Path:
    """``<id>.png`` of each item."""
    folder.mkdir(parents=True)
    for k, row in enumerate(items(n)):
        (folder / f"{row['id']}.png").write_bytes(picture(k))
    return folder


def as_csv(folder: Path, *, images: bool = True) -> Path:
    """``items.csv``, ``interactions.csv`` and ``images/``."""
    folder.mkdir(parents=True)
    write_table(folder / "items.csv", items())
    write_table(folder / "interactions.csv", log())
    if images:
        write_images(folder / "images")
    return folder


def as_recbole(folder: Path) -> Path:
    """Atomic files, and ``images/`` beside them."""
    folder.mkdir(parents=True)
    kinds = {"id": "item_id:token", "title": "title:token_seq", "category": "category:token"}
    _atomic(folder / f"{folder.name}.item", [{kinds[c]: v for c, v in row.items()} for row in items()])
    kinds = {"user": "user_id", "item": "item_id", "time": "timestamp", "rating": "rating"}
    types = {"user": "token", "item": "token", "time": "float", "rating": "float"}
    rows = [{f"{kinds[c]}:{types[c]}": v for c, v in row.items()} for row in log()]
    _atomic(folder / f"{folder.name}.inter", rows)
    _atomic(
        folder / f"{folder.name}.user", [{"user_id:token": f"u{k}", "age:float": k} for k in range(PEOPLE)]
    )
    write_images(folder / "images")
    return folder


def as_parquet(folder: Path) -> Path:
    """``items.parquet`` with pictures in it, and ``interactions.parquet`` in two files."""
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True)
    parquet.write_table(_items_with_pictures(), folder / "items.parquet", row_group_size=10)
    chosen = pa.Table.from_pylist(log())
    for k, part in enumerate((chosen.slice(0, 100), chosen.slice(100))):
        parquet.write_table(part, folder / f"interactions-0000{k}-of-00002.parquet")
    return folder


def as_saved(folder: Path) -> Path:
    """Folders ``items`` and ``interactions`` as ``save_to_disk`` of ``datasets`` writes them."""
    import pyarrow as pa

    _saved(folder / "items", _items_with_pictures(), 2)
    _saved(folder / "interactions", pa.Table.from_pylist(log()), 1)
    return folder


def packed(folder: Path, suffix: str) -> Path:
    """The pictures of a CSV shop in an archive instead of ``images/``."""
    files = sorted((folder / "images").iterdir())
    target = folder / f"images{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
    else:
        with tarfile.open(target, "w:gz" if suffix == ".tar.gz" else "w") as archive:
            for file in files:
                archive.add(file, f"images/{file.name}")
    shutil.rmtree(folder / "images")
    return folder


def _items_with_pictures() -> Any:
    import pyarrow as pa

    rows = [{**row, "image": {"bytes": picture(k), "path": None}} for k, row in enumerate(items())]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [("id", pa.string()), ("title", pa.string()), ("category", pa.string()), ("image", kind)]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _saved(folder: Path, table: Any, shards: int) -> None:
    import pyarrow as pa

    folder.mkdir(parents=True)
    names, size = [], -(-len(table) // shards)
    for k in range(shards):
        name = f"data-{k:05d}-of-{shards:05d}.arrow"
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table.slice(k * size, size), max_chunksize=7)
        names.append({"filename": name})
    (folder / "state.json").write_text(json.dumps({"_data_files": names, "_split": None}))
    (folder / "dataset_info.json").write_text("{}")


def _atomic(file: Path, rows: Sequence[Row]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
