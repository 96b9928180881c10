"""Items of a table: ids and texts, with neutral captions for items without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.datasets.described import LONGEST
from recsim_gen.datasets.files.tables import Table
from recsim_gen.datasets.tables.columns import ITEM_ROLES, assign, told
from recsim_gen.datasets.tables.sources import Source

NO_CATEGORY = "no category"


@dataclass(frozen=True, eq=False)
class Items:
    """n items: ``ids``, ``titles``, ``captions`` and ``categories`` (n,) str, none empty.

    ``images`` (n,) str is each item's image file, "" for none, or None without ``image_column``; ``defects``
    and ``notes`` are sentences; ``wordless``: only ids are known.
    """

    ids: np.ndarray
    titles: np.ndarray
    captions: np.ndarray
    categories: np.ndarray
    images: np.ndarray | None
    defects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wordless: bool = False
    image_column: str | None = None


def bare_items(ids: np.ndarray, note: str) -> Items:
    """Return items of which only ``ids`` (n,) are known."""
    titles = np.char.add("item ", ids)
    return Items(ids, titles, titles, np.full(len(ids), NO_CATEGORY), None, (note,), wordless=True)


def read_items(source: Source, columns: Mapping[str, str | None], words: Sequence[str] = ()) -> Items:
    """Return the items of a table, in its order.

    ``columns`` {role: name} as for `assign`. The caption of an item without one is its title, category and
    the columns ``words``: ``"Red lamp, lamps, steel"``. Raises DataError for a repeated id, SettingError for
    a column that does not exist.
    """
    roles = assign(source.header, ITEM_ROLES, columns, source.file)
    unknown = [word for word in words if word not in source.header]
    if unknown:
        near = did_you_mean(unknown[0], source.header)
        raise SettingError(f"words must be columns of {source.file.name}, got {unknown[0]!r}.{near}")
    images = roles.get("image")
    texts = dict.fromkeys([*(roles[r] for r in ("title", "caption", "category") if r in roles), *words])
    table = source.read(ids=[roles["id"]], texts=[*texts, *([images] if images else [])])
    ids = table.keys(roles["id"])
    blank = np.full(len(ids), "")
    notes = [told(source.file, len(ids), source.header, {**roles, **{f"words {w}": w for w in words}})]
    text = {column: _cut(table, column, notes) for column in texts}
    title, caption, category = (text.get(roles.get(r, ""), blank) for r in ("title", "caption", "category"))
    own = _sentences(title, category, [text[word] for word in words])
    text_of = np.where(caption != "", caption, own)
    titles = np.where(title != "", title, np.char.add("item ", ids))
    defects = _blanks({r: text[roles[r]] for r in ("title", "caption", "category") if r in roles}, source)
    return Items(
        ids,
        titles,
        np.where(text_of != "", text_of, titles),
        np.where(category != "", category, NO_CATEGORY),
        table.texts(images) if images else None,
        defects,
        tuple(notes),
        wordless=bool((text_of == "").all()),
        image_column=images,
    )


def _cut(table: Table, column: str, notes: list[str]) -> np.ndarray:
    """Return (n,) str, at most `LONGEST` characters each."""
    long = int((table.frame[column].str.len() > LONGEST).sum())
    if long:
        notes.append(f"{long:,} texts of {column} cut at {LONGEST:,} characters")
        table.frame[column] = table.frame[column].str.slice(0, LONGEST)
    return table.texts(column)


def _sentences(title: np.ndarray, category: np.ndarray, more: Sequence[np.ndarray]) -> np.ndarray:
    """Return (n,) title, category and more words, separated by commas, without repetitions."""
    lines = []
    for words in zip(title.tolist(), category.tolist(), *(m.tolist() for m in more), strict=True):
        line = words[0]
        for word in words[1:]:
            if word and word.casefold() not in line.casefold():
                line = f"{line}, {word}" if line else word
        lines.append(line)
    return np.array(lines, dtype=str)


def _blanks(columns: Mapping[str, np.ndarray], source: Source) -> tuple[str, ...]:
    """Return a sentence for each column that is empty in some rows."""
    counts = {role: int((values == "").sum()) for role, values in columns.items()}
    return tuple(
        f"{source.file.name}: {count:,} of {len(columns[role]):,} items without {role}"
        for role, count in counts.items()
        if count
    )
