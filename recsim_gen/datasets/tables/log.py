"""Choices from one table or one per split: ids, times, weights, and which rows are choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import SPLITS
from recsim_gen.datasets.files.names import likely
from recsim_gen.datasets.files.tables import Table, natural_places
from recsim_gen.datasets.sequences import Choices
from recsim_gen.datasets.tables.columns import LOG_ROLES, assign, told
from recsim_gen.datasets.tables.sources import Source

Unknown = Literal["refuse", "drop"]
"""Treatment of choices of unknown items: an error, or left out and counted."""

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, eq=False)
class Log:
    """Choices; ``split`` (m,) if the data have their own.

    ``defects`` and ``notes`` are sentences: what the user may want to fix, and what was counted.
    """

    choices: Choices
    split: np.ndarray | None
    defects: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one table: ``person`` (m,) of ``people`` (p,), ``item`` (m,) catalogue rows, and the rest."""

    person: np.ndarray
    people: np.ndarray
    item: np.ndarray
    time: np.ndarray
    weight: np.ndarray
    split: np.ndarray

    def only(self, keep: np.ndarray) -> Part:
        """Return the rows ``keep`` (m,) bool."""
        rows = (self.person, self.item, self.time, self.weight, self.split)
        person, item, time, weight, split = (values[keep] for values in rows)
        return Part(person, self.people, item, time, weight, split)


@dataclass(frozen=True)
class LogReader:
    """Reads tables of choices of the items ``ids`` (n,), which are listed in ``where``.

    ``columns`` {role: name} as for `assign`; rows with a weight below ``min_weight`` (None: 0 or less) are
    not choices.
    """

    ids: np.ndarray
    where: str
    columns: Mapping[str, str | None]
    min_weight: float | None
    unknown: Unknown

    def read(self, sources: Mapping[str, Source]) -> Log:
        """Return the choices of {split: table}; a single table has split "" if the data have no splits.

        Raises DataError for unreadable content, an unknown item (unless left out), and if no choice is left.
        """
        defects: list[str] = []
        notes: list[str] = []
        parts = [self._part(source, split, defects, notes) for split, source in sources.items()]
        part = _joined(parts)
        part = self._choices_only(part, notes)
        part = _once(part, notes)
        if not len(part.person):
            raise DataError("choices are wanted, none is left", remedy="; ".join([*defects, *notes]))
        persons = np.unique(part.person)
        place = np.searchsorted(persons, part.person)
        choices = Choices(
            place, part.people[persons], part.item, part.time, part.weight, np.arange(len(part.person))
        )
        return Log(choices, part.split if (part.split != "").all() else None, tuple(defects), tuple(notes))

    def _part(self, source: Source, split: str, defects: list[str], notes: list[str]) -> Part:
        assigned = assign(source.header, LOG_ROLES, self.columns, source.file)
        texts = [assigned[role] for role in ("time", "split") if role in assigned]
        numbers = [assigned["weight"]] if "weight" in assigned else []
        table = source.read(ids=[assigned["user"], assigned["item"]], numbers=numbers, texts=texts)
        notes.append(told(source.file, len(table), source.header, assigned))
        person, people = table.ids(assigned["user"])
        item = self._items(table, assigned["item"], defects)
        if "time" in assigned:
            time = seconds(table, assigned["time"])
        else:
            defects.append(
                f"{source.file.name} has no times: the order of its rows is taken for that of time"
            )
            time = np.arange(len(table), dtype=np.float64)
        weight = table.numbers(numbers[0]) if numbers else np.ones(len(table))
        own = _splits(table, assigned["split"]) if "split" in assigned else np.full(len(table), split)
        part = Part(person, people, item, time, weight, own)
        return part.only(item >= 0) if (item < 0).any() else part

    def _items(self, table: Table, column: str, defects: list[str]) -> np.ndarray:
        """Return (m,) catalogue rows, negative for unknown items if these are allowed."""
        import pandas as pd

        codes, names = table.ids(column)
        row = pd.Index(self.ids.astype(object)).get_indexer(pd.Index(names.astype(object)))
        item: np.ndarray = row[codes].astype(np.int64)
        if (item >= 0).all():
            return item
        unknown = names[row < 0]
        rows = int((item < 0).sum())
        sentence = (
            f"{len(unknown):,} of the {len(names):,} items of {table.file.name} ({rows:,} rows) are not in "
            f"{self.where}, such as {str(unknown[0])!r}{likely(unknown.tolist(), self.ids.tolist())}"
        )
        if self.unknown == "refuse":
            table.refuse(
                item < 0,
                lambda _: sentence,
                f"Write ids alike, add them to {self.where}, or leave these rows out: "
                "--data-settings.unknown drop",
            )
        defects.append(f"{sentence}: left out")
        return item

    def _choices_only(self, part: Part, notes: list[str]) -> Part:
        keep = part.weight > 0 if self.min_weight is None else part.weight >= self.min_weight
        if keep.all():
            return part
        least = (
            "of weight 0 or less" if self.min_weight is None else f"below {self.min_weight:g} (min_weight)"
        )
        notes.append(f"{(~keep).sum():,} rows {least} left out: no choices")
        return part.only(keep)


def seconds(table: Table, column: str) -> np.ndarray:
    """Return the (m,) float64 times of a column: numbers as they are, or ISO dates as seconds since 1970.

    Raises DataError for a row that is neither, or differs from the other rows.
    """
    import pandas as pd

    texts = table.frame[column].str.strip()
    numbers = pd.to_numeric(texts, errors="coerce").astype(np.float64).to_numpy()
    is_number = np.isfinite(numbers)
    if is_number.all():
        return numbers
    if is_number.mean() > 0.5:
        table.refuse(
            ~is_number, lambda i: f"{column} must be a number, got {texts.iloc[i]!r}", "Correct that row"
        )
    dates = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    table.refuse(
        dates.isna().to_numpy() | is_number,
        lambda i: f"{column} must be a number or a date like 2024-01-31 18:05, got {texts.iloc[i]!r}",
        "Write dates so, or leave the column out: --data-settings.time_column none",
    )
    since = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return since.to_numpy(dtype=np.float64)


def split_named(word: str) -> str | None:
    """Return train, valid or test for common names of splits; None for any other."""
    return _SPLIT_WORDS.get(word.strip().casefold())


def _splits(table: Table, column: str) -> np.ndarray:
    words = table.frame[column].map(split_named)
    table.refuse(
        words.isna().to_numpy(),
        lambda i: f"{column} must be one of {', '.join(SPLITS)}, got {table.frame[column].iloc[i]!r}",
        "Correct it, or leave the column out: --data-settings.split_column none",
    )
    return words.to_numpy(dtype=str)


def _joined(parts: Sequence[Part]) -> Part:
    """Concatenate all rows, with people renumbered."""
    people = np.unique(np.concatenate([part.people for part in parts]))
    people = people[np.argsort(natural_places(people))]
    row_of = {name: row for row, name in enumerate(people.tolist())}
    person = [np.array([row_of[name] for name in p.people.tolist()], dtype=np.int64)[p.person] for p in parts]
    rest = ([getattr(part, name) for part in parts] for name in ("item", "time", "weight", "split"))
    item, time, weight, split = (np.concatenate(values) for values in rest)
    return Part(np.concatenate(person), people, item, time, weight, split)


def _once(part: Part, notes: list[str]) -> Part:
    """Keep only the last choice of an item by each person."""
    import pandas as pd

    order = np.lexsort((np.arange(len(part.person)), part.time))
    pairs = pd.DataFrame({"person": part.person[order], "item": part.item[order]})
    again = np.empty(len(order), dtype=bool)
    again[order] = pairs.duplicated(keep="last").to_numpy()
    if not again.any():
        return part
    notes.append(f"{again.sum():,} choices left out: the same person chose the item again later")
    return part.only(~again)
