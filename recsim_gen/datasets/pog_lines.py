"""Parses the three text files of POG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.files.names import clean_name
from recsim_gen.datasets.files.text_lines import line_starts, lines_at, lines_if

_AS_PUBLISHED = "Fetch the file as published, or correct that line"


@dataclass(frozen=True)
class User:
    """One user's clicks, oldest first, without repetitions, and the chosen outfit (may be empty)."""

    name: str
    items: tuple[str, ...]
    outfit: str


@dataclass(frozen=True)
class Clicks:
    """The sampled users, in the order of the file; ``notes`` count them and what was left out."""

    users: tuple[User, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """Category and title of an item."""

    category: str
    title: str


def read_clicks(file: Path, rng: Rng, n_users: int | None, *, keep: int, fewest: int) -> Clicks:
    """Sample ``n_users`` lines (None: all) whose users have ``fewest`` different items or more.

    Of each the last ``keep`` different items are taken, from the line sampled first. Raises DataError for a
    bad line among the sampled ones, and if no user is left.
    """
    starts = line_starts(file)
    n = len(starts) - 1
    order = np.arange(1, n + 1) if n_users is None else rng.numpy().permutation(n) + 1
    users: dict[int, User] = {}
    seen: set[str] = set()
    short = repeated = more = 0
    for number, line in lines_at(file, starts, order.tolist()):
        if not line.strip():
            continue
        user, again = _user(file, number, line, keep)
        if user.name in seen:
            more += 1
            continue
        seen.add(user.name)
        if len(user.items) < fewest:
            short += 1
            continue
        users[number] = user
        repeated += again
        if len(users) == n_users:
            break
    if not users:
        raise DataError(
            f"users with {fewest} different items are wanted, got none", file=file, remedy=_AS_PUBLISHED
        )
    notes = [f"{len(users):,} users drawn from {n:,} lines, their last {keep} items at most"]
    if more:
        notes.append(f"{more:,} more lines of users drawn before passed over")
    if short:
        notes.append(f"{short:,} users passed over: fewer than {fewest} different items")
    if repeated:
        notes.append(f"{repeated:,} items clicked again: the last click counts")
    return Clicks(tuple(users[number] for number in sorted(users)), tuple(notes))


def read_items(file: Path, wanted: Iterable[str]) -> dict[str, Item]:
    """Return {id: item} of the ``wanted`` items that the file lists. Raises DataError for a repeated one."""
    ids = set(wanted)
    items: dict[str, Item] = {}
    for number, line in lines_if(file, lambda line: _first(line) in ids):
        fields = line.split(",", 3)
        if len(fields) < 4:
            _refuse(file, number, f"item, category, address and title are wanted, got {line[:80]!r}")
        name = clean_name(fields[0])
        if name in items:
            _refuse(file, number, f"item {name!r} stands a second time")
        items[name] = Item(clean_name(fields[1]) or "unknown", clean_name(fields[3])[:1000])
    return items


def read_outfits(file: Path, wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return {id: items} of the ``wanted`` outfits that the file lists."""
    ids = {outfit for outfit in wanted if outfit}
    outfits: dict[str, tuple[str, ...]] = {}
    for number, line in lines_if(file, lambda line: _first(line) in ids):
        name, comma, items = line.partition(",")
        name = clean_name(name)
        if not comma:
            _refuse(file, number, f"outfit and items are wanted, got {line[:80]!r}")
        if name in outfits:
            _refuse(file, number, f"outfit {name!r} stands a second time")
        outfits[name] = _items(items)
    return outfits


def _user(file: Path, number: int, line: str, keep: int) -> tuple[User, int]:
    """Return the user of a line, and how many of their clicks were on an item clicked again later."""
    fields = [clean_name(field) for field in line.split(",")]
    if len(fields) not in (2, 3) or not fields[0]:
        _refuse(file, number, f"user, items and an outfit are wanted, got {line[:80]!r}")
    clicked = _items(fields[1])
    different = tuple(dict.fromkeys(reversed(clicked)))[:keep][::-1]
    outfit = fields[2] if len(fields) == 3 else ""
    return User(fields[0], different, outfit), len(clicked) - len(set(clicked))


def _items(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(clean_name, text.split(";"))))


def _first(line: bytes) -> str:
    """Return the id at the beginning of a line."""
    return clean_name(line.partition(b",")[0].decode("utf-8", errors="replace"))


def _refuse(file: Path, number: int, problem: str) -> NoReturn:
    raise DataError(problem, file=file, row=number, remedy=_AS_PUBLISHED)
