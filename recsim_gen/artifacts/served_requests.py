"""What a served ranker may be asked, a row of a table each, checked before anything is computed."""

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
    """A known ``user`` or the ``history`` of somebody new; of a user also an ``item`` and its ``picture``."""

    user: str | None
    history: tuple[str, ...]
    item: str | None
    picture: Image.Image | None


def read_requests(table: pd.DataFrame) -> list[Request]:
    """The rows of a table with some of ``COLUMNS``. Raises DataError (row) for one that asks for nothing."""
    if not {"user", "history"} & {*table.columns}:
        raise DataError(f"want a table with the column 'user' or 'history', got columns {[*table.columns]}")
    return [_request(record, row) for row, record in enumerate(table.to_dict("records"))]


def _request(record: Mapping[Any, Any], row: int) -> Request:
    user, item, picture = (_text(record.get(name)) for name in ("user", "item", "picture"))
    history = _items(record.get("history"), row)
    if (user is None) == (not history):
        raise DataError("a user or the history of somebody new is wanted, one of them", row=row)
    if (item is None) != (picture is None):
        raise DataError("an item and its picture are wanted together", row=row)
    if picture is not None and user is None:
        raise DataError("a picture is asked about for a known user: give 'user'", row=row)
    return Request(user, history, item, None if picture is None else _decoded(picture, row))


def _text(value: Any) -> str | None:
    """A cell as text; None where it is empty: None, NaN, or nothing."""
    return None if _empty(value) or value == "" else str(value)


def _items(value: Any, row: int) -> tuple[str, ...]:
    """A cell as item ids; () where it is empty."""
    if _empty(value):
        return ()
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(str, value))
    raise DataError(f"history must be a list of item ids, got {value!r:.40}", row=row)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _decoded(picture: str, row: int) -> Image.Image:
    from recsim_gen.datasets.files.decoding import decode

    try:
        return decode(base64.b64decode(picture, validate=True), f"picture of row {row}")
    except binascii.Error as error:
        problem = f"the base64 of a picture file is wanted, got {picture[:20]!r} ({error})"
        raise DataError(problem, row=row) from error


def row_of(name: str, value: str, rows: Mapping[str, int]) -> int:
    """The row of a user or an item. Raises DataError for one that nobody knows."""
    if value not in rows:
        some = ", ".join(list(rows)[:3])
        raise DataError(
            f"unknown {name} {value!r}.{nearest(value, rows)}",
            remedy=f"It knows the {len(rows):,} {name}s that it was trained on ({some}…)",
        )
    return rows[value]
