"""PMG-Bench's ``my_valid_data.txt``: published test episodes, one ``id;id;…,target`` per line.

A line does not name its user. If it has the films and the target of a sequence cut from the ratings, it is
that sequence's test episode; otherwise it is the history of an additional user. People who rated all films of
such a line may be its user, so their choice of its target is removed from the training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Interactions
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.names import clean_name, likely
from recsim_gen.datasets.files.text_lines import lines_if
from recsim_gen.datasets.sequences import Sequences
from recsim_gen.datasets.splits import TEST, TRAIN

_REMEDY = "Write id;id;…,target"


@dataclass(frozen=True)
class Line:
    """One history, as listed, and its target, as catalogue rows."""

    history: tuple[int, ...]
    target: int

    @property
    def films(self) -> tuple[frozenset[int], int]:
        """Identity of a line, independent of the order of the history."""
        return frozenset(self.history), self.target


def read_lines(file: Path, item_ids: np.ndarray, where: str) -> list[Line]:
    """Read the lines of ``my_valid_data.txt``; blank ones are skipped, the last may lack its line end.

    Raises DataError (file, row, remedy) for a line of another form, an id that is not in ``item_ids`` (n,),
    read from ``where``, a repeated item, and a target in its own history. Lines may be equal: two people of
    MovieLens have the same twenty films.
    """
    row_of = {item: row for row, item in enumerate(item_ids.tolist())}
    lines: list[Line] = []
    for number, text in lines_if(file, lambda line: bool(line.strip())):
        ids, comma, target = (clean_name(part) for part in text.partition(","))
        history = [clean_name(item) for item in ids.split(";")]
        unknown = [item for item in (*history, target) if item not in row_of]
        problem, remedy = None, _REMEDY
        if not comma or "," in target or "" in (*history, target):
            problem = f"a history and a target are wanted, got {text[:80]!r}"
        elif unknown:
            problem = f"{unknown[0]!r} is not in {where}{likely(unknown, row_of)}"
            remedy = f"Add it to {where}, or remove the line"
        elif len(set(history)) < len(history):
            problem, remedy = "an item stands twice in the history", "Keep one of the two"
        elif target in history:
            problem, remedy = f"the target {target!r} is in its own history", "Take it out of the history"
        else:
            lines.append(Line(tuple(row_of[item] for item in history), row_of[target]))
            continue
        raise DataError(problem, file=file, row=number, remedy=remedy)
    if not lines:
        raise DataError("lines are wanted, got none", file=file, remedy="Remove the file, or fetch it again")
    return lines


def explains(sequences: Sequences, lines: Sequence[Line]) -> bool:
    """Return whether each of the lines is the end of one of these sequences."""
    return None not in _users_of(sequences, lines)


def _users_of(sequences: Sequences, lines: Sequence[Line]) -> list[int | None]:
    """Return the user whose sequence each line is, or None; each user has at most one line."""
    users: dict[tuple[frozenset[int], int], list[int]] = {}
    for episode in reversed(sequences.episodes):
        users.setdefault((frozenset(episode.history), episode.reference), []).append(episode.user)
    users_of = [users.get(line.films) for line in lines]
    return [same.pop() if same else None for same in users_of]


def published(sequences: Sequences, lines: Sequence[Line]) -> Sequences:
    """Return the sequences with the published lines as episodes.

    Sequences that no line names are training data; the last but one of their items stays valid if no sequence
    is named at all, since model selection needs a validation split. Additional users are called
    ``"validation/<k>"``, one per history, in the order listed.
    """
    matched = _users_of(sequences, lines)
    histories = {line.films for line, user in zip(lines, matched, strict=True) if user is not None}
    own = [*{line.films: line for line in lines if line.films not in histories}.values()]
    chosen = sequences.interactions
    named = [user for user in matched if user is not None]
    unasked = ~np.isin(chosen.user, named) & ((chosen.split == TEST) | bool(named))
    chosen = chosen.with_split(np.where(unasked, TRAIN, chosen.split))
    given_away = _given_away(sequences, own)
    notes = [
        f"episodes are the {len(lines):,} lines of my_valid_data.txt: {len(named):,} of the "
        f"sequences, {len(own):,} of histories of their own; other sequences are all learned from"
    ]
    if again := len(lines) - len(named) - len(own):
        notes.append(f"{again:,} of these lines stand again and count once")
    if given_away.any():
        notes.append(
            f"{given_away.sum():,} ratings left out: of the target of such a line, by who rated all its films"
        )
    interactions, people = _joined(chosen, sequences.people, ~given_away, own)
    return Sequences(interactions, test_episodes(interactions, people), (*sequences.notes, *notes), people)


def _given_away(sequences: Sequences, own: Sequence[Line]) -> np.ndarray:
    """Return (m,) bool: choices of a line's target by people who also chose all of its history."""
    chosen = sequences.interactions
    _, person = np.unique(sequences.people, return_inverse=True)
    pair = person[chosen.user] * chosen.n_items + chosen.item
    named = np.unique([item for line in own for item in (*line.history, line.target)])
    rows = np.flatnonzero(np.isin(chosen.item, named))
    fans: dict[int, set[int]] = {item: set() for item in named.astype(int).tolist()}
    for item, who in zip(chosen.item[rows].tolist(), person[chosen.user[rows]].tolist(), strict=True):
        fans[item].add(who)
    all_of = [
        (set.intersection(*(fans[i] for i in (*line.history, line.target))), line.target) for line in own
    ]
    return np.isin(pair, [who * chosen.n_items + target for people, target in all_of for who in people])


def _joined(
    chosen: Interactions, people: np.ndarray, keep: np.ndarray, own: Sequence[Line]
) -> tuple[Interactions, np.ndarray]:
    """Return the kept choices followed by those of the lines, and each user's person.

    Users without choices are removed.
    """
    targets: dict[tuple[int, ...], list[int]] = {}
    for line in own:
        targets.setdefault(line.history, []).append(line.target)
    names = np.array([f"validation/{k}" for k in range(len(targets))], dtype=str)
    items = np.array([i for line in targets.items() for part in line for i in part], dtype=np.int64)
    length = np.array([len(history) + len(asked) for history, asked in targets.items()], dtype=np.int64)
    known = np.repeat([len(history) for history in targets], length)
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    user = np.concatenate([chosen.user[keep], chosen.n_users + np.repeat(np.arange(len(length)), length)])
    left, user = np.unique(user, return_inverse=True)
    best = np.full(len(place), chosen.weight.max())
    interactions = replace(
        chosen,
        user=user,
        item=np.concatenate([chosen.item[keep], items]),
        time=np.concatenate([chosen.time[keep], place]),
        weight=np.concatenate([chosen.weight[keep], best]),
        split=np.concatenate([chosen.split[keep], np.where(place >= known, TEST, TRAIN)]),
        user_ids=np.concatenate([chosen.user_ids, names])[left],
    )
    return interactions, np.concatenate([people, names])[left]
