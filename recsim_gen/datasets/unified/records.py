"""The records of the Personalized Multimodal Generation Benchmark, parsed from JSON into columns.

A record is one window of a person's choices: the person, a history, and the target that follows. The format
of the public code (it differs between the three datasets): ``user_id`` (POG, SER30K) or ``worker_id``
(FLICKR); ``history_item_ids`` and ``history_items_info``, one object per item; ``target_item_id`` and
``target_item_info``; ``window_position`` and ``total_sequence_length`` (FLICKR, POG), ``sample_index``
(SER30K). An item has ``item_id``, ``caption``, ``image_path`` and, in FLICKR, ``score`` (of this worker) and
``aesthetic_score`` (of all). An earlier form of SER30K has ``history_topic``, ``target_caption`` and
``target_image_path`` besides the ids; it is supported too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.json_files import MAX_MEGABYTES, Fields, read_json, shown


@dataclass
class Item:
    """What the records state about one item; ``where`` is the (file, row) that named the path."""

    caption: str = ""
    path: str | None = None
    aesthetic: float | None = None
    where: tuple[Path, str] | None = None


@dataclass
class Records:
    """Records in the order of the files, and their items by id.

    Per record: ``split``, ``person``, ``position`` (window position, else sample index, else None),
    ``target`` (item id or None), ``target_score``, ``style``. Per history row: ``record``, ``item``,
    ``score`` (or None), oldest first within a record.
    """

    split: list[str] = field(default_factory=list)
    person: list[str] = field(default_factory=list)
    position: list[int | None] = field(default_factory=list)
    target: list[str | None] = field(default_factory=list)
    target_score: list[float | None] = field(default_factory=list)
    style: list[str] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    item: list[str] = field(default_factory=list)
    score: list[float | None] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.split)

    def read(self, file: Path, split: str, *, max_megabytes: int = MAX_MEGABYTES) -> None:
        """Add the records of a file to ``split``. Raises DataError (file, number of the record)."""
        content = read_json(file, max_megabytes=max_megabytes)
        if not isinstance(content, list):
            raise DataError(
                f"a list of records is wanted, got {shown(content)}", file=file, remedy=_AS_PUBLISHED
            )
        for number, value in enumerate(content, start=1):
            self._add(Fields.of(value, file, f"record {number}"), split)

    def _add(self, record: Fields, split: str) -> None:
        person = record.identifier("user_id", "worker_id", "history_topic")
        if person is None:
            record.refuse("user_id or worker_id is wanted, got neither")
        history = [self._item(info) for info in record.objects("history_items_info")]
        ids = _ids(record)
        if history and ids and [item for item, _ in history] != ids:
            record.refuse("history_item_ids and history_items_info name different items")
        if not history:
            history = [(self._known(item), None) for item in ids]
        if not history:
            record.refuse("a history of one item or more is wanted, got none")
        target, score = self._target(record)
        self.record += [len(self)] * len(history)
        self.item += [item for item, _ in history]
        self.score += [score for _, score in history]
        self.split.append(split)
        self.person.append(person)
        self.position.append(_position(record))
        self.target.append(target)
        self.target_score.append(score)
        self.style.append(record.text("user_style") or record.text("worker_style"))

    def _target(self, record: Fields) -> tuple[str | None, float | None]:
        named, info = record.identifier("target_item_id"), record.inner("target_item_info")
        if info is not None and info.values:
            target, score = self._item(info)
            if named is not None and named != target:
                record.refuse(
                    f"target_item_id and target_item_info name different items: {named!r}, {target!r}"
                )
            return target, score
        if named is not None:
            flat = {"caption": "target_caption", "image_path": "target_image_path"}
            values = {key: record.values.get(at) for key, at in flat.items()}
            self._item(Fields({"item_id": named, **values}, record.file, record.row))
        return named, None

    def _item(self, info: Fields) -> tuple[str, float | None]:
        """Return id and score of an item, and store its first caption and its path."""
        item_id = info.identifier("item_id")
        if item_id is None:
            return info.refuse("item_id is wanted, got none")
        item = self.items[self._known(item_id)]
        item.caption = item.caption or info.text("caption")
        path = info.text("image_path")
        if path and item.path is not None and path != item.path:
            info.refuse(f"item {item_id!r} has two pictures: {item.path[:100]!r} and {path[:100]!r}")
        if path and item.path is None:
            item.path, item.where = path, (info.file, info.row)
        aesthetic = info.number("aesthetic_score")
        item.aesthetic = item.aesthetic if aesthetic is None else aesthetic
        return item_id, info.number("score")

    def _known(self, item_id: str) -> str:
        self.items.setdefault(item_id, Item())
        return item_id


_AS_PUBLISHED = "Fetch the file as published, or correct it"


def _ids(record: Fields) -> list[str]:
    ids = record.values.get("history_item_ids")
    if not isinstance(ids, list | None):
        return record.refuse(f"history_item_ids must be a list, got {shown(ids)}")
    return [record.as_identifier(item, "an item of history_item_ids") for item in ids or ()]


def _position(record: Fields) -> int | None:
    position, length = record.count("window_position"), record.count("total_sequence_length")
    if position is not None and length is not None and position >= length:
        record.refuse(f"window_position must be below total_sequence_length, got {position} of {length}")
    record.count("num_interactions")
    sample = record.count("sample_index")
    return sample if position is None else position


def optional(values: list[float | None], missing: float) -> np.ndarray:
    """Return (k,) float64 with ``missing`` in place of None."""
    return np.array([missing if v is None else v for v in values], dtype=np.float64)
