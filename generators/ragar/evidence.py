"""What is known of an episode before anything is learned: retrieval, keywords, prompts (Eq. 1–6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from generators.keywords import Keywords
from recsim_gen.core.errors import DataError
from recsim_gen.core.store import fingerprint
from recsim_gen.encoders.features import in_shards, item_texts
from recsim_gen.encoders.retrieval import preference, retrieve, weights
from recsim_gen.models.prompts import keywords_line, taste_prompt

if TYPE_CHECKING:
    from generators.ragar.config import RAGARConfig
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.models.family import ModelFamily

BATCH = 64


@dataclass(frozen=True)
class Inputs:
    """Of B episodes: ``prompts`` p_g for the language model, ``keys`` the texts of E_key.

    ``preference`` (B, d_vis): P_ret (Eq. 5), or None where nothing is retrieved.
    """

    prompts: list[str]
    keys: list[str]
    preference: np.ndarray | None


class Evidence:
    """What a family's encoders and language model say of a catalogue; depends on no ranker.

    All items are encoded in batches that are always the same, and kept by content: a picture's
    conditions do not depend on those asked for with it.
    """

    def __init__(
        self, catalog: Catalog, family: ModelFamily, config: RAGARConfig, device: str | None
    ) -> None:
        self.catalog, self.family, self.config, self.device = catalog, family, config, device

    @cached_property
    def keywords(self) -> list[list[str]]:
        """w_i of every item (Eq. 6)."""
        keywords = Keywords(self.family, self.device, self.catalog).of_all()
        self.family.release("language_model")  # what learns is a copy: of 7 B, two are too many
        return keywords

    @cached_property
    def text(self) -> np.ndarray:
        """(n, d) E_sem of every item's caption (Eq. 2). Raises DataError for an item without text."""
        texts, encoder = item_texts(self.catalog), self.family.text_encoder(device=self.device)
        return in_shards(
            np.arange(len(texts)),
            lambda rows: encoder.encode_texts(texts[rows].tolist()),
            lambda rows: fingerprint(encoder.fingerprint, "text", texts[rows].tolist()),
            BATCH,
            "captions (retrieval)",
        )

    @cached_property
    def visual(self) -> np.ndarray:
        """(n, d_vis) E_vis of every item's picture (Eq. 4), the mean of the others where it has none."""
        images = self.catalog.images
        if images is None or not images.present.any():
            raise DataError("pictures to retrieve are wanted, the catalogue has none", remedy="Set k to 0")
        encoder, rows_with = self.family.image_encoder(device=self.device), np.flatnonzero(images.present)
        x = in_shards(
            rows_with,
            lambda rows: encoder.encode_images([images.read(row) for row in rows.tolist()]),
            lambda rows: fingerprint(encoder.fingerprint, "image", images.fingerprint, rows),
            BATCH,
            "pictures (retrieval)",
        )
        every = np.broadcast_to(x.mean(0), (len(self.catalog), x.shape[1])).astype(np.float32)
        every[rows_with] = x
        return every

    def of(self, episodes: Sequence[Episode]) -> Inputs:
        """Raises DataError for a history shorter than k, and for a reference without text."""
        config = self.config
        for episode in episodes:
            self._check(episode)
        latest = [replace(e, history=e.history[-config.history :]) for e in episodes]
        if config.k:
            retrieved = retrieve(latest, self.text)
            chosen = [rows.tolist() for rows in retrieved.between(0, config.k)]
            s = weights(retrieved.similarity, config.k, rule=config.weights)
            ret = preference(self.visual, retrieved.items, s).astype(np.float32)
        else:
            chosen, ret = [list(e.history) for e in latest], None
        keys = [self._key(e.reference, rows) for e, rows in zip(latest, chosen, strict=True)]
        return Inputs([self._prompt(rows, key) for rows, key in zip(chosen, keys, strict=True)], keys, ret)

    def of_items(self, rows: Sequence[int], others: Sequence[Sequence[int]]) -> Inputs:
        """Prompts that end with the items' own keywords, after those of ``others``: what GILL trains on."""
        keys = [self.line(row) for row in rows]
        return Inputs([self._prompt(h, key) for h, key in zip(others, keys, strict=True)], keys, None)

    def line(self, row: int) -> str:
        """An item as category and keywords."""
        return key_line(str(self.catalog.categories[row]), self.keywords[row])

    def spoken(self, row: int) -> str:
        """The text of an item that learned states are to resemble."""
        return self.line(row) if self.config.target_text == "keywords" else str(item_texts(self.catalog)[row])

    @cached_property
    def _categories(self) -> frozenset[str]:
        return frozenset(str(c).strip().lower() for c in np.unique(self.catalog.categories))

    def _key(self, reference: int, rows: Sequence[int]) -> str:
        """The reference's category, and w′ of the rows."""
        top = top_keywords(
            [self.keywords[row] for row in rows], self.config.keywords, without=self._categories
        )
        category = str(self.catalog.categories[reference]).strip()
        return key_line(category or (self.keywords[reference] or [""])[0], top)

    def _prompt(self, rows: Sequence[int], key: str) -> str:
        return f"{taste_prompt([self.keywords[row] for row in rows])} {key}"

    def _check(self, episode: Episode) -> None:
        config = self.config
        if len(episode.history) < config.k:
            raise DataError(
                f"episode {episode.id}: a history of at least k = {config.k} items is wanted, "
                f"got {len(episode.history)}",
                remedy="Leave the episode out, or set a smaller k",
            )
        if not (
            str(self.catalog.captions[episode.reference]) + str(self.catalog.titles[episode.reference])
        ).strip():
            raise DataError(
                f"item {self.catalog.item_ids[episode.reference]!r}, the reference of episode {episode.id}, "
                "has neither caption nor title",
                remedy="Caption the pictures (python -m recsim_gen.caption)",
            )


def top_keywords(lists: Sequence[Sequence[str]], n: int, *, without: Collection[str] = ()) -> list[str]:
    """w′: the ``n`` most frequent keywords of several items, those of low frequency left out.

    Among equally frequent ones the first to appear; letters' case does not matter. They are told in the
    order of their mean places in the lists, which means something where lists are ordered: of two colours
    the first is the main one. ``without``: words in lower case that do not count, such as names of
    categories: they tell what things are, not what is liked of them.
    """
    places: dict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for words in lists:
        for place, word in enumerate(word for word in words if word.lower() not in without):
            places[word.lower()].append(place)
            first.setdefault(word.lower(), word)
    frequent = sorted(places, key=lambda word: -len(places[word]))[:n]
    return [first[word] for word in sorted(frequent, key=lambda word: fmean(places[word]))]


def key_line(category: str, keywords: Sequence[str]) -> str:
    """The text that E_key encodes: what the thing is, then what is liked of things like it."""
    first = [category.strip()] if category.strip() else []
    named = {word.lower() for word in first}
    return keywords_line([*first, *(word for word in keywords if word.lower() not in named)])
