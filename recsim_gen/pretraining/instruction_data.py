"""Training data of the family's language model: prompts with correct answers, from a catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsim_gen.models.prompts import _flat, favourites, keywords_line, keywords_prompt, taste_prompt
from recsim_gen.pretraining.source import PretrainingSource
from recsim_gen.pretraining.wordings import item_keywords

LONGEST_HISTORY = 20
LIKED = 0.6  # share of a history's items with one of its two favourite keywords


@dataclass(frozen=True, eq=False)
class InstructionData:
    """Prompts and correct answers from the allowed rows (m,) of a source."""

    source: PretrainingSource
    rows: np.ndarray

    @cached_property
    def keywords(self) -> list[list[str]]:
        """Keywords of every row of the source."""
        return item_keywords(self.source)

    @property
    def aligned(self) -> bool:
        """Whether the k-th keyword of every item names the same attribute."""
        return self.source.attributes is not None

    @cached_property
    def _rows_of(self) -> dict[str, np.ndarray]:
        rows_of: dict[str, list[int]] = {}
        for row in self.rows.tolist():
            for word in dict.fromkeys(self.keywords[row]):
                rows_of.setdefault(word, []).append(row)
        return {word: np.array(rows) for word, rows in rows_of.items()}

    def item(self, row: int) -> tuple[str, str]:
        """Return p_k of a row, and its answer."""
        prompt = keywords_prompt(self.source.titles[row], self.source.captions[row])
        return prompt, keywords_line(self.keywords[row])

    def taste(self, history: Sequence[int]) -> tuple[str, str]:
        """Return p_g of a history of rows, oldest first, and its answer."""
        chosen = [self.keywords[row] for row in history]
        return taste_prompt(chosen), keywords_line(favourites(chosen, aligned=self.aligned))

    def history(self, length: int, random: np.random.Generator) -> list[int]:
        """Return rows that a person who likes two keywords of some item might choose."""
        words = self.keywords[random.choice(self.rows)]
        liked = random.choice(words, size=2).tolist() if words else []
        pools = [self._rows_of[word] for word in liked] or [self.rows]
        return [
            int(random.choice(pools[random.integers(len(pools))] if random.random() < LIKED else self.rows))
            for _ in range(length)
        ]

    def liked(self, history: Sequence[int]) -> list[set[str]]:
        """Return what an answer to p_g of this history must name: one keyword of each set."""
        return equally_liked([self.keywords[row] for row in history], aligned=self.aligned)


def equally_liked(keywords_by_item: Sequence[Sequence[str]], *, aligned: bool) -> list[set[str]]:
    """Return for each of the ``favourites`` the set of equally frequent keywords, including itself.

    ``aligned``: one set for each attribute.
    """
    if aligned:
        return [_as_frequent(Counter(column)) for column in zip(*keywords_by_item, strict=True)]
    counts = Counter(_flat(keywords_by_item))
    best = favourites(keywords_by_item, aligned=False)
    return [{word for word, count in counts.items() if count == counts[one]} for one in best]


def _as_frequent(counts: Counter[str]) -> set[str]:
    return {word for word, count in counts.items() if count == max(counts.values())}
