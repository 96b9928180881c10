"""Published numbers of papers and benchmarks (``published.yaml``), read and validated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).parent / "published.yaml"
BLOCKS = ("personalisation", "semantic", "quality", "auxiliary", "data")
BETTER = {"up": True, "down": False, "none": None}
_KEYS = ("id", "document", "table", "scale", "metrics", "rows")


@dataclass(frozen=True)
class PublishedMetric:
    """A column: name as in our results, block of the table, and direction."""

    name: str
    block: str
    higher_is_better: bool | None


@dataclass(frozen=True)
class PublishedRow:
    """A method on a data set; ``values`` and ``sds`` have one entry per metric, None if not printed."""

    dataset: str
    method: str
    values: tuple[float | None, ...]
    sds: tuple[float | None, ...]


@dataclass(frozen=True)
class PublishedTable:
    """A published table: its source, scale of its numbers, columns and rows."""

    id: str
    document: str
    table: str
    scale: str
    metrics: tuple[PublishedMetric, ...]
    rows: tuple[PublishedRow, ...]

    @property
    def source(self) -> str:
        """Document and table."""
        return f"{self.document}, {self.table}"

    def frame(self) -> pd.DataFrame:
        """Return a tidy table with one row per printed number.

        Columns: document, table, dataset, method, metric, block, value, sd.
        """
        import pandas as pd

        lines = [
            (self.document, self.table, row.dataset, row.method, metric.name, metric.block, value, sd)
            for row in self.rows
            for metric, value, sd in zip(self.metrics, row.values, row.sds, strict=True)
            if value is not None
        ]
        columns = ["document", "table", "dataset", "method", "metric", "block", "value", "sd"]
        return pd.DataFrame(lines, columns=columns)


def load_published(path: str | Path = FILE) -> list[PublishedTable]:
    """Return all tables of the file.

    Raises DataError (file, row) for an invalid table, a value that is not a finite number, a row with more or
    fewer values than metrics, and repeated names.
    """
    import yaml

    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["tables"]
        tables = [_table(entry, path) for entry in entries]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"published tables are wanted ({type(error).__name__}: {error})", file=path
        ) from error
    ids = [table.id for table in tables]
    _once(ids, "table", path)
    return tables


def of_blocks(tables: Sequence[PublishedTable], blocks: Sequence[str]) -> list[PublishedTable]:
    """Return the tables that have a metric of these blocks."""
    return [table for table in tables if any(metric.block in blocks for metric in table.metrics)]


def _table(entry: Mapping[str, Any], path: str | Path) -> PublishedTable:
    if sorted(entry) != sorted(_KEYS):
        raise DataError(f"a table has {', '.join(_KEYS)}, got {', '.join(entry)}", file=path)
    name = entry["id"]
    metrics = tuple(_metric(m, name, path) for m in entry["metrics"])
    rows = tuple(_row(r, len(metrics), name, path) for r in entry["rows"])
    _once([metric.name for metric in metrics], f"{name}: metric", path)
    _once([f"{row.dataset}, {row.method}" for row in rows], f"{name}: row", path)
    document, printed, scale = (str(entry[key]) for key in ("document", "table", "scale"))
    return PublishedTable(str(name), document, printed, scale, metrics, rows)


def _metric(entry: Mapping[str, Any], table: str, path: str | Path) -> PublishedMetric:
    block, better = entry["block"], entry["better"]
    if block not in BLOCKS or better not in BETTER:
        allowed = f"block is one of {', '.join(BLOCKS)}, better one of {', '.join(BETTER)}"
        raise DataError(f"{table}: {allowed}; got {block!r} and {better!r}", file=path)
    return PublishedMetric(entry["name"], block, BETTER[better])


def _row(entry: Mapping[str, Any], count: int, table: str, path: str | Path) -> PublishedRow:
    where = f"{table}: {entry['dataset']}, {entry['method']}"
    if len(entry["values"]) != count:
        raise DataError(f"{count} values are wanted, got {len(entry['values'])}", file=path, row=where)
    pairs = [value if isinstance(value, list) else [value, None] for value in entry["values"]]
    for number in (number for pair in pairs for number in pair):
        plain = number is None or (isinstance(number, (int, float)) and not isinstance(number, bool))
        if not plain or (number is not None and not math.isfinite(number)):
            raise DataError(f"a finite number or null is wanted, got {number!r}", file=path, row=where)
    values, sds = zip(*pairs, strict=True)
    return PublishedRow(str(entry["dataset"]), str(entry["method"]), values, sds)


def _once(names: Sequence[str], what: str, path: str | Path) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{what} {twice!r} stands twice", file=path)
