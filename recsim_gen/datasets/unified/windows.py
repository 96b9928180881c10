"""Converts records of the unified JSON into choices and episodes, without leaks of targets.

Records are windows, so the same choices occur in many of them, and a target can occur in a history. The
rules, each counted in the notes:

- A target is removed from its own history (the leak of the public POG split). Of an item repeated in a
  history, the last place counts.
- Test and validation windows of one person are kept only if none contains the target of another: with a
  window that slides by one, the ranker would see the answer to the window before. ``windows="all"`` keeps
  them, to compare with published numbers.
- Each kept window is a user of its own, ``"<person>/<k>"``, with one episode: the target is test, the last of
  the history valid, the rest train, as everywhere in this library. A window of ``val.json`` has its target
  valid and its history train. All of a person's windows in ``train.json`` are one user, ``"<person>/train"``,
  without the targets of other windows of this person.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Interactions
from recsim_gen.datasets.leaks import holds_target
from recsim_gen.datasets.splits import TEST, TRAIN, VALID
from recsim_gen.datasets.unified.records import Records, optional

if TYPE_CHECKING:
    import pandas as pd

Windows = Literal["apart", "all"]
"""Test windows of one person: only those without another's target (apart), or all."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Result of ``choices``: the person behind each user in ``people`` (n_users,), and counts."""

    interactions: Interactions
    people: np.ndarray
    leaks: int
    notes: tuple[str, ...]


def choices(records: Records, row_of: dict[str, int], windows: Windows) -> Chosen:
    """Return the choices of all records by the rules of this module; ``row_of`` maps item ids to rows.

    Raises DataError if no test record is left.
    """
    frame, target, leaks, notes = _histories(records, row_of)
    kept = _kept(records, frame, target, windows, notes)
    if not (kept & (np.array(records.split) == TEST)).any():
        raise DataError(
            "a test record with a history and a target is wanted, got none", remedy="Is test.json whole?"
        )
    interactions, people = _interactions(records, frame, target, kept, len(row_of), notes)
    return Chosen(interactions, people, leaks, tuple(notes))


def _histories(records: Records, row_of: dict[str, int]) -> tuple[pd.DataFrame, np.ndarray, int, list[str]]:
    """Return history rows without leaks and repetitions, the target row of each record (or -1), and notes."""
    import pandas as pd

    target = np.array([-1 if t is None else row_of[t] for t in records.target], dtype=np.int64)
    frame = pd.DataFrame(
        {
            "record": np.array(records.record, dtype=np.int64),
            "item": np.array([row_of[item] for item in records.item], dtype=np.int64),
            "weight": optional(records.score, 1.0),
        }
    )
    notes = [
        f"{len(records):,} records of {len(set(records.person)):,} people, {len(row_of):,} items; "
        + ", ".join(f"{records.split.count(split):,} {split}" for split in (TRAIN, VALID, TEST))
    ]
    leaky = holds_target(frame["record"].to_numpy(), frame["item"].to_numpy(), target)
    leaks = frame["record"][leaky].nunique()
    if leaks:
        in_test = (np.array(records.split)[frame["record"][leaky].unique()] == TEST).sum()
        notes.append(
            f"{leaks:,} records ({in_test:,} of them test) hold their target in their own history: "
            "taken out of the history"
        )
    frame = frame[~leaky]
    again = frame.duplicated(["record", "item"], keep="last")
    if again.any():
        notes.append(f"{again.sum():,} items stand twice in one history: the last place counts")
    return frame[~again].reset_index(drop=True), target, leaks, notes


def _kept(
    records: Records, frame: pd.DataFrame, target: np.ndarray, windows: Windows, notes: list[str]
) -> np.ndarray:
    """Return (r,) bool: all train records; others with history, target and no overlap."""
    train = np.array(records.split) == TRAIN
    whole = (np.bincount(frame["record"], minlength=len(records)) > 0) & (target >= 0)
    if lost := int((~train & ~whole).sum()):
        notes.append(f"{lost:,} test or validation records without target or history left out")
    evaluated = np.flatnonzero(~train & whole)
    if windows == "apart":
        apart = evaluated[_apart(records, frame, target, evaluated)]
        if len(apart) < len(evaluated):
            notes.append(
                f"{len(evaluated) - len(apart):,} test or validation windows left out that overlap with "
                "another of the same person (windows=apart)"
            )
        evaluated = apart
    kept = train
    kept[evaluated] = True
    return kept


def _apart(records: Records, frame: pd.DataFrame, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the positions in ``asked`` of windows without a target of one kept before, test ones first."""
    bounds = np.searchsorted(frame["record"], np.arange(len(records) + 1))
    items = frame["item"].to_numpy()
    seen: dict[str, set[int]] = defaultdict(set)
    answers: dict[str, set[int]] = defaultdict(set)
    is_valid = np.array([records.split[r] == VALID for r in asked.tolist()], dtype=bool)
    position = np.array([records.position[r] or 0 for r in asked.tolist()], dtype=np.int64)
    kept = []
    for place in np.lexsort((position, is_valid)).tolist():
        record = int(asked[place])
        history, answer = items[bounds[record] : bounds[record + 1]].tolist(), int(target[record])
        before, targets = seen[records.person[record]], answers[records.person[record]]
        if answer in before or answer in targets or not targets.isdisjoint(history):
            continue
        before.update(history)
        targets.add(answer)
        kept.append(place)
    return np.sort(np.array(kept, dtype=np.int64))


def _interactions(
    records: Records,
    frame: pd.DataFrame,
    target: np.ndarray,
    kept: np.ndarray,
    n_items: int,
    notes: list[str],
) -> tuple[Interactions, np.ndarray]:
    """Return the choices, and the person behind each user."""
    import pandas as pd

    split = np.array(records.split)
    length = np.bincount(frame["record"], minlength=len(records))
    start = np.array([-1 if p is None else p for p in records.position], dtype=np.float64)
    start = np.where(
        start < 0, np.cumsum(length + 1) - length - 1, start
    )  # otherwise in the order of the file
    place = frame.groupby("record").cumcount().to_numpy()
    owner = frame["record"].to_numpy()
    of_history = np.where(
        (split[owner] == TEST) & (place == length[owner] - 1) & (length[owner] > 1), VALID, TRAIN
    )
    answered = np.flatnonzero(target >= 0)
    rows = pd.DataFrame(
        {
            "record": np.concatenate([owner, answered]),
            "item": np.concatenate([frame["item"], target[answered]]),
            "weight": np.concatenate([frame["weight"], optional(records.target_score, 1.0)[answered]]),
            "time": np.concatenate([start[owner] + place, (start + length)[answered]]),
            "split": np.concatenate([of_history, split[answered]]),
        }
    )
    rows = rows[kept[rows["record"]]]
    rows["person"] = np.array(records.person)[rows["record"]]
    number, names = pd.factorize(_users(records, kept))  # in the order of the files
    rows["user"] = number[rows["record"]]
    rows = _without_answers(rows, split, notes)
    rows = rows.sort_values(["user", "time"], kind="stable").drop_duplicates(["user", "item"])
    users = rows.drop_duplicates("user")
    code, left = pd.factorize(rows["user"])
    interactions = Interactions(
        user=code,
        item=rows["item"].to_numpy(),
        time=rows["time"].to_numpy(),
        weight=rows["weight"].to_numpy(),
        split=rows["split"].to_numpy(dtype=str),
        user_ids=names[left].astype(str),
        n_items=n_items,
    )
    return interactions, users["person"].to_numpy(dtype=str)


def _users(records: Records, kept: np.ndarray) -> np.ndarray:
    """Return (r,) str: the user of each record, one per person in train and one per window elsewhere."""
    import pandas as pd

    frame = pd.DataFrame({"person": records.person, "split": records.split})[kept]
    number = frame.groupby(["person", "split"]).cumcount().astype(str)
    in_train, in_valid = frame["split"] == TRAIN, frame["split"] == VALID
    name = np.where(in_train, "train", np.where(in_valid, "valid" + number, number))
    names = np.full(len(records), "", dtype=object)
    names[kept] = frame["person"] + "/" + name
    return names


def _without_answers(rows: pd.DataFrame, split: np.ndarray, notes: list[str]) -> pd.DataFrame:
    """Return the rows of train records without the targets of the same person elsewhere."""
    import pandas as pd

    of_train = split[rows["record"]] == TRAIN
    answers = pd.MultiIndex.from_frame(
        rows[~of_train & (rows["split"] == split[rows["record"]])][["person", "item"]]
    )
    dropped = of_train & pd.MultiIndex.from_frame(rows[["person", "item"]]).isin(answers)
    if dropped.any():
        notes.append(
            f"{dropped.sum():,} rows of train records left out: the same person is asked for them in test or "
            "validation"
        )
    return rows[~dropped]
