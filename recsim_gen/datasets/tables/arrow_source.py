"""Tables of parquet and Arrow files: columns as text, as if read from CSV, and images in them.

Arrow files are those that ``datasets`` writes with ``save_to_disk`` (a stream of batches) or Feather.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.progress import bar
from recsim_gen.datasets.files.tables import Table, checked

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 256  # rows per batch if they contain images
_BEGINNINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


class ArrowTable(Table):
    """A table without text lines: rows in messages are counted from 1 through all its files."""

    def line(self, index: int) -> int:
        """Return the number of row ``index``."""
        return index + 1


@dataclass(frozen=True)
class ArrowSource:
    """The rows of ``files``, concatenated; ``file`` is their name for messages."""

    file: Path
    files: tuple[Path, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns. Raises DataError if files differ or cannot be read."""
        first, *others = [(file, _schema(file)) for file in self.files]
        for file, schema in others:
            if schema.names != first[1].names:
                raise DataError(
                    f"columns as in {first[0].name} are wanted ({', '.join(first[1].names)}), got "
                    f"{', '.join(schema.names)}",
                    file=file,
                    remedy="Give files of one table",
                )
        return first[1]

    @property
    def header(self) -> list[str]:
        """Names of its columns."""
        return list(self.schema.names)

    def read(self, **columns: Any) -> Table:
        """Return the columns ``ids``, ``numbers`` and ``texts``, checked as by `read_table`."""
        import pandas as pd

        names = list(dict.fromkeys(name for given in columns.values() for name in given))
        parts: dict[str, list[list[str]]] = {name: [] for name in names}
        for batch in self._batches(names):
            for name in names:
                parts[name].append(_texts(batch.column(name), self._labels.get(name)))
        frame = pd.DataFrame({name: list(chain.from_iterable(parts[name])) for name in names}, dtype=str)
        if frame.empty:
            raise DataError("rows are wanted, got none", file=self.file, remedy="Is this the table?")
        for name in columns.get("ids", ()):
            frame[name] = frame[name].astype("category")
        table = ArrowTable(self.file, frame, ",", True)
        return checked(table, **columns, longest=sys.maxsize)

    def holds_pictures(self, column: str) -> bool:
        """Return whether a column has the bytes of images, in the form of ``datasets`` or bare."""
        import pyarrow as pa

        kind = self.schema.field(column).type
        if pa.types.is_struct(kind):
            return any(kind.field(k).name == "bytes" for k in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def pictures(self, column: str) -> Iterator[tuple[str, bytes]]:
        """Yield (``<row>.jpg``, bytes) of each row of ``column`` that has an image."""
        row = 0
        shown = bar(what=f"pictures of {self.file.name} once", unit="pictures")
        for batch in self._batches([column]):
            for value in batch.column(column):
                held = value.as_py()
                data = held.get("bytes") if isinstance(held, dict) else held
                if data:
                    suffix = next((s for start, s in _BEGINNINGS.items() if data.startswith(start)), ".jpg")
                    yield f"{row}{suffix}", data
                row += 1
                shown.update()

    @cached_property
    def _labels(self) -> dict[str, list[str]]:
        """{column: class names} of columns that ``datasets`` stores as class numbers."""
        try:
            features = json.loads((self.schema.metadata or {})[b"huggingface"])["info"]["features"]
            return {name: f["names"] for name, f in features.items() if f.get("_type") == "ClassLabel"}
        except (KeyError, ValueError, TypeError, AttributeError):
            return {}

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for file in self.files:
            with _reading(file):
                yield from _batches(file, columns)


def _schema(file: Path) -> pa.Schema:
    with _reading(file):
        if file.suffix == ".parquet":
            from pyarrow import parquet

            return parquet.read_schema(file)
        with _open_arrow(file) as reader:
            return reader.schema


def _batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if file.suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(file) as opened:
            yield from opened.iter_batches(batch_size=_BATCH, columns=list(columns))
        return
    with _open_arrow(file) as reader:
        if hasattr(reader, "num_record_batches"):
            batches: Any = (reader.get_batch(k) for k in range(reader.num_record_batches))
        else:
            batches = reader
        for batch in batches:
            yield batch.select(list(columns))


def _open_arrow(file: Path) -> Any:
    """Return a reader of a stream or of a file of batches, memory-mapped."""
    import pyarrow as pa

    mapped = pa.memory_map(str(file))
    try:
        return pa.ipc.open_stream(mapped)
    except pa.ArrowInvalid:
        return pa.ipc.open_file(mapped)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Context that converts pyarrow's exceptions to DataError."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise MissingDependency("parquet and Arrow files need pyarrow: pip install pyarrow") from error
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        why = str(error).partition("\n")[0]
        raise DataError(f"cannot be read as a table ({why})", file=file, remedy="Write it again") from error


def _texts(column: pa.Array, labels: list[str] | None) -> list[str]:
    """Return the values as text, "" for missing ones; images as their paths, times as seconds since 1970."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_struct(kind):
        has_path = any(kind.field(k).name == "path" for k in range(kind.num_fields))
        return _texts(column.field("path"), None) if has_path else [""] * len(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [""] * len(column)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [", ".join(map(str, value or ())) for value in column.to_pylist()]
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        micros = pc.cast(pc.cast(column, pa.timestamp("us", zone)), pa.int64())
        return ["" if value is None else repr(value / 1e6) for value in micros.to_pylist()]
    if labels is not None and pa.types.is_integer(kind):
        values = column.to_pylist()
        return [labels[v] if v is not None and 0 <= v < len(labels) else "" for v in values]
    return ["" if value is None else value for value in pc.cast(column, pa.string()).to_pylist()]
