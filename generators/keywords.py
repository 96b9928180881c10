"""Keywords of items and of tastes, from the family's language model and two prompts.

If an answer about an item cannot be parsed, the first words of its title are used, or of its caption if it
has none, or its category; if one about a taste cannot, the most frequent keywords of the items. Decoding is
greedy and in fixed batches, so answers do not depend on the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from generators.prompts import prompt_of
from recsim_gen.core.progress import bar
from recsim_gen.core.store import cached_array, fingerprint
from recsim_gen.models.language import LONGEST_ANSWER, answers
from recsim_gen.models.prompts import MOST_WORDS, favourites, keywords_prompt, parse_keywords, taste_prompt

if TYPE_CHECKING:
    from recsim_gen.core.types import Catalog
    from recsim_gen.models.family import ModelFamily

CHUNK = 100  # neighbouring items in one batch
TOGETHER = 4  # tastes in one batch


class Keywords:
    """Prompts the language model of a family for keywords of a catalogue's items; answers are cached."""

    def __init__(self, family: ModelFamily, device: str | None, catalog: Catalog) -> None:
        self._family, self._device, self._catalog = family, device, catalog
        self._of_items: dict[int, list[str]] = {}
        self._tastes: dict[str, list[str]] = {}
        self._categories = {str(name).strip().lower() for name in np.unique(catalog.categories)}

    @cached_property
    def model(self) -> tuple[Any, Any]:
        """The language model and its tokenizer, loaded on first use."""
        return self._family.language_model(device=self._device)

    def of(self, rows: Sequence[int]) -> list[list[str]]:
        """Return keywords of each item (p_k). Raises DataError for an item without caption and title."""
        for row in rows:
            prompt_of(self._catalog, row, "{caption}")  # raises if it has no text
        self._ask_about(rows)
        return [self._of_items[row] for row in rows]

    def of_all(self) -> list[list[str]]:
        """Return keywords of every item; an item without text has its category, or none."""
        rows = range(len(self._catalog))
        self._ask_about(rows)
        return [self._of_items[row] for row in rows]

    def taste(self, rows: Sequence[int]) -> list[str]:
        """Return keywords of the taste behind these items, oldest first (p_g).

        Without names of categories, since the reference determines what is drawn.
        """
        self.ask_tastes([rows])
        return self._tastes[self.taste_prompt(rows)]

    def ask_tastes(self, histories: Sequence[Sequence[int]]) -> None:
        """Compute the `taste` of many histories at once, each bit-identical to a single query.

        Only prompts of equal length are in one batch, which is padded with its first prompt, so neither
        padding nor the number of rows depends on the other histories.
        """
        tokenizer = self.model[1]
        rows_of = {self.taste_prompt(rows): rows for rows in histories}
        alike: dict[int, list[str]] = {}
        for prompt in rows_of:
            if prompt not in self._tastes:
                alike.setdefault(len(tokenizer(prompt)["input_ids"]), []).append(prompt)
        batches = [p[i : i + TOGETHER] for p in alike.values() for i in range(0, len(p), TOGETHER)]
        for batch in bar(batches, "asking for tastes", unit="batch") if len(batches) > 1 else batches:
            full = (batch + batch[:1] * TOGETHER)[:TOGETHER]
            for prompt, answer in zip(batch, answers(*self.model, full), strict=False):
                self._tastes[prompt] = self._read_taste(answer, rows_of[prompt])

    def tastes(self, histories: Sequence[Sequence[int]]) -> list[list[str]]:
        """Return the tastes of many histories, computed together.

        For training, where batches are always the same.
        """
        prompts = [self.taste_prompt(rows) for rows in bar(histories, "prompts of tastes", unit="history")]
        pairs = zip(self._answers(prompts), histories, strict=True)
        return [self._read_taste(answer, rows) for answer, rows in pairs]

    def taste_prompt(self, rows: Sequence[int]) -> str:
        """Return p_g for as many of the latest of these items as fit the language model, at least one."""
        model, tokenizer = self.model
        room = min(tokenizer.model_max_length, model.config.max_position_embeddings) - LONGEST_ANSWER
        keywords = self.of(rows)
        for first in range(len(rows)):
            prompt = taste_prompt(keywords[first:])
            if len(tokenizer(prompt)["input_ids"]) <= room:
                break
        return prompt

    def _ask_about(self, rows: Sequence[int]) -> None:
        """Compute the keywords of these items and of their neighbours."""
        chunks = dict.fromkeys(row // CHUNK for row in rows if row not in self._of_items)
        for chunk in bar(chunks, "keywords of items", unit="chunk") if len(chunks) > 1 else chunks:
            neighbours = range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self._catalog)))
            texts = {row: self._texts(row) for row in neighbours}
            prompts = {
                row: keywords_prompt(title, caption or title)
                for row, (title, caption) in texts.items()
                if title or caption
            }
            answer_to = dict(zip(prompts, self._answers([*prompts.values()]), strict=True))
            for row in neighbours:
                self._of_items[row] = parse_keywords(answer_to.get(row, "")) or self._instead(row)

    def _texts(self, row: int) -> tuple[str, str]:
        """Return title and caption, "" for none."""
        return str(self._catalog.titles[row]).strip(), str(self._catalog.captions[row]).strip()

    def _instead(self, row: int) -> list[str]:
        """Return the substitute for keywords that cannot be parsed."""
        title, caption = self._texts(row)
        words = " ".join((title or caption).split()[:MOST_WORDS])
        text = words or str(self._catalog.categories[row]).strip()
        return [text] if text else []

    def _answers(self, prompts: Sequence[str]) -> Iterable[str]:
        if not prompts:
            return []
        checkpoint = self._family.checkpoint("language_model").fingerprint
        key = fingerprint(checkpoint, self._family.dtype, LONGEST_ANSWER, CHUNK, list(prompts))

        def ask() -> np.ndarray:
            starts = range(0, len(prompts), CHUNK)
            shown = bar(starts, "asking the language model", unit="batch") if len(starts) > 1 else starts
            texts = [a for s in shown for a in answers(*self.model, prompts[s : s + CHUNK], batch=CHUNK)]
            return np.array(texts, dtype=str)

        kept: list[str] = cached_array("keywords", key, ask).tolist()
        return kept

    def _read_taste(self, answer: str, rows: Sequence[int]) -> list[str]:
        keywords = parse_keywords(answer) or favourites(self.of(rows), aligned=False)
        return [word for word in keywords if word.lower() not in self._categories]
