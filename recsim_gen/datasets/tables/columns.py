"""Assigns roles to the columns of a table: guessed from common names, or given by the user.

Names are compared by letters and digits only: ``Item ID``, ``item_id`` and RecBole's ``item_id:token`` are
equal. A note lists what was guessed; ambiguous columns are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean

NONE = "none"

_ITEM_IDS = (
    "itemid",
    "productid",
    "articleid",
    "movieid",
    "filmid",
    "bookid",
    "songid",
    "goodsid",
    "iid",
    "sku",
    "asin",
    "isbn",
)


@dataclass(frozen=True)
class Role:
    """A role of a column: ``spellings`` by rank (those of one rank are equally likely)."""

    spellings: tuple[tuple[str, ...], ...]
    required: bool = False

    def rank(self, column: str) -> int | None:
        """Return the rank of a column name for this role, 0 is the most likely; None if it does not match."""
        name = plain(column)
        return next((k for k, names in enumerate(self.spellings) if name in names), None)


ITEM_ROLES = {
    "id": Role((_ITEM_IDS, ("id", "item"), ("product", "article")), required=True),
    "title": Role(
        (("title", "itemtitle", "producttitle", "movietitle"), ("name", "itemname", "productname"))
    ),
    "caption": Role((("caption",), ("description", "itemdescription", "desc"), ("text", "summary"))),
    "category": Role(
        (
            ("category", "categoryname"),
            ("categories", "maincategory", "cat"),
            ("genre", "genres", "class", "type", "producttype", "department"),
        )
    ),
    "image": Role(
        (("image", "imagefile", "imagepath", "imagename"), ("picture", "photo", "img"), ("file", "filename"))
    ),
}
"""Roles of the columns of the items table."""

LOG_ROLES = {
    "user": Role(
        (
            ("userid", "uid", "customerid", "personid", "visitorid", "clientid", "memberid", "reviewerid"),
            ("user", "customer", "person", "visitor", "client", "member", "reviewer"),
        ),
        required=True,
    ),
    "item": Role((_ITEM_IDS, ("item", "product", "article", "movie", "film", "book", "song")), required=True),
    "time": Role(
        (
            ("time", "timestamp", "datetime", "unixtime", "eventtime", "unixreviewtime"),
            ("date", "createdat", "when", "ts"),
        )
    ),
    "weight": Role(
        (
            ("weight",),
            ("rating", "stars", "score", "overall", "preference"),
            ("count", "quantity"),
            ("label",),
        )
    ),
    "split": Role((("split", "subset"),)),
}
"""Roles of the columns of the choices table."""


def plain(column: str) -> str:
    """Return the letters and digits of a column's name in lower case, without a type after a colon."""
    return "".join(c for c in column.partition(":")[0].casefold() if c.isalnum())


def assign(
    header: Sequence[str], roles: Mapping[str, Role], given: Mapping[str, str | None], file: Path
) -> dict[str, str]:
    """Return {role: column} for the columns of ``header``: those of ``given``, others by their names.

    ``given`` {role: column, ``"none"`` for none, None to guess}. Raises SettingError for a given column that
    does not exist, DataError if a required one is missing or ambiguous.
    """
    assigned = {
        role: _given(column, header, role, file)
        for role, column in given.items()
        if column not in (None, NONE)
    }
    for role, kind in roles.items():
        if role in assigned or (given.get(role) == NONE and not kind.required):
            continue
        ranked = [(kind.rank(c), c) for c in header if c not in assigned.values()]
        candidates = sorted((rank, c) for rank, c in ranked if rank is not None)
        best = [c for rank, c in candidates if rank == candidates[0][0]]
        if kind.required and len(best) != 1:
            problem = f"{' and '.join(map(repr, best))} could be it" if best else f"got {', '.join(header)}"
            problem = f"a column of {_MEANING[role]} is wanted, {problem}"
            remedy = f"Say which it is: --data-settings.{role}_column NAME"
            raise DataError(problem, file=file, row=1, remedy=remedy)
        if best:
            assigned[role] = best[0]
    return assigned


def told(file: Path, rows: int, header: Sequence[str], assigned: Mapping[str, str]) -> str:
    """Return a sentence on which column was used for which role, and which columns were ignored."""
    read = [role if plain(column) == role else f"{role} from {column}" for role, column in assigned.items()]
    left = [column for column in header if column not in assigned.values()]
    aside = f"; left aside: {', '.join(left)}" if left else ""
    return f"{file.name}: {rows:,} rows; {', '.join(read)}{aside}"


_MEANING = {"id": "item ids", "user": "user ids", "item": "item ids"}


def _given(column: str | None, header: Sequence[str], role: str, file: Path) -> str:
    assert column is not None
    same = [name for name in header if name == column] or [n for n in header if plain(n) == plain(column)]
    if len(same) != 1:
        raise SettingError(
            f"{role}_column must be a column of {file.name}, got {column!r}.{did_you_mean(column, header)}"
        )
    return same[0]
