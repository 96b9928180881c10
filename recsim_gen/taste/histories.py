"""People's choices: histories of item rows, and their sums by category."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 21  # numbers in memory at once: 16 MiB


class Evidence(NamedTuple):
    """Choices of B people, each in up to G categories.

    ``category`` (B, G) codes; ``number`` (B, G) choices in it, 0 as padding; ``total`` (B, G, d) sum of their
    features.
    """

    category: NDArray[Any]
    number: NDArray[Any]
    total: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Histories:
    """Item rows of B people, concatenated.

    ``items[start[b] : start[b + 1]]`` are those of person b; ``start`` (B + 1,).
    """

    start: NDArray[Any]
    items: NDArray[Any]

    @classmethod
    def of(cls, histories: Histories | Sequence[NDArray[Any]]) -> Histories:
        """Create from one array of item rows per person; arrays may be empty."""
        if isinstance(histories, Histories):
            return histories
        start = np.cumsum([0, *(len(h) for h in histories)])
        return cls(start, np.concatenate([np.empty(0), *histories]).astype(np.int64))

    @classmethod
    def of_pairs(cls, user: NDArray[Any], item: NDArray[Any], n_users: int) -> Histories:
        """Create from pairs of user and item rows."""
        order = np.argsort(user, kind="stable")
        return cls(np.searchsorted(user[order], np.arange(n_users + 1)), item[order])

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> NDArray[Any]:
        """(B,) number of choices of each person."""
        return np.diff(self.start)

    @property
    def person(self) -> NDArray[Any]:
        """Person of each entry of ``items``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, people: NDArray[Any]) -> Histories:
        """Return the histories of these people (rows), in this order."""
        lengths = self.lengths[people]
        start = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(start[-1]) + np.repeat(self.start[people] - start[:-1], lengths)
        return Histories(start, self.items[at])

    def blocks(self, each: int) -> Iterator[slice]:
        """Return slices of the people, each with about `BLOCK` numbers at ``each`` numbers per choice."""
        size = max(1, BLOCK // max(1, int(self.lengths.max(initial=0)) * each))
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    def evidence(self, features: NDArray[Any], category: NDArray[Any]) -> Evidence:
        """Sum the choices by person and category.

        ``features`` (n, d) and ``category`` (n,) of all items. The order of a history does not matter.
        """
        if not len(self.items):
            nothing = np.zeros((len(self), 1))
            return Evidence(nothing.astype(np.int64), nothing, np.zeros((len(self), 1, features.shape[1])))
        person, codes = self.person, category[self.items]
        order = np.lexsort((self.items, codes, person))
        person, codes = person[order], codes[order]
        first = np.flatnonzero(np.diff(person, prepend=-1) | np.diff(codes, prepend=-1))
        who = person[first]
        place = np.arange(len(who)) - np.searchsorted(who, who)
        shape = len(self), int(place.max()) + 1
        out = Evidence(np.zeros(shape, np.int64), np.zeros(shape), np.zeros((*shape, features.shape[1])))
        out.category[who, place] = codes[first]
        out.number[who, place] = np.diff(first, append=len(person))
        out.total[who, place] = np.add.reduceat(features[self.items[order]], first, axis=0)
        return out
