"""Requests to a served ranker: one row of a table each, validated before anything is computed."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import nearest

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

COLUMNS = ("user", "history", "item", "picture")


@dataclass(frozen=True)
class Request:
    """One request: a known ``user``, or the ``history`` of a new person.

    A user may also give an ``item`` and a ``picture`` of it.
    """

    user: str | None
    history: tuple[str, ...]
    item: str | None
    picture: Image.Image | None


def read_requests(table: pd.DataFrame) -> list[Request]:
    """Parse a table with some of the columns ``COLUMNS``. Raises DataError (row) for an invalid row."""
    if not {"user", "history"} & {*table.columns}:
        raise DataError(f"the table must have the column 'user' or 'history', got columns {[*table.columns]}")
    return [_request(record, row) for row, record in enumerate(table.to_dict("records"))]


def _request(record: Mapping[Any, Any], row: int) -> Request:
    user, item, picture = (_text(record.get(name)) for name in ("user", "item", "picture"))
    history = _items(record.get("history"), row)
    if (user is None) == (not history):
        raise DataError("give either a user or the history of a new person", row=row)
    if (item is None) != (picture is None):
        raise DataError("give an item and its picture together", row=row)
    if picture is not None and user is None:
        raise DataError("a picture can only be ranked for a known user: give 'user'", row=row)
    return Request(user, history, item, None if picture is None else _decoded(picture, row))


def _text(value: Any) -> str | None:
    """Return a cell as text; None if it is None, NaN or empty."""
    return None if _empty(value) or value == "" else str(value)


def _items(value: Any, row: int) -> tuple[str, ...]:
    """Return a cell as item ids; () if it is empty."""
    if _empty(value):
        return ()
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(str, value))
    raise DataError(f"history must be a list of item ids, got {value!r:.40}", row=row)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _decoded(picture: str, row: int) -> Image.Image:
    """Decode a base64 image. Raises DataError if that fails."""
    from recsim_gen.datasets.files.decoding import decode

    try:
        return decode(base64.b64decode(picture, validate=True), f"picture of row {row}")
    except binascii.Error as error:
        problem = f"must be the base64 of a picture file, got {picture[:20]!r} ({error})"
        raise DataError(problem, row=row) from error


def row_of(name: str, value: str, rows: Mapping[str, int]) -> int:
    """Return the row of a user or item. Raises DataError for an unknown one."""
    if value not in rows:
        some = ", ".join(list(rows)[:3])
        raise DataError(
            f"unknown {name} {value!r}.{nearest(value, rows)}",
            remedy=f"The ranker knows the {len(rows):,} {name}s of its training ({some}…)",
        )
    return rows[value]
