"""Evidence for an episode before drawing: retrieval, keywords, prompts (Eq. 1–6).

``evidence: caption`` is the paper's: items whose captions are similar to the reference's, and their most
frequent keywords. ``evidence: taste`` is ours: items of categories whose tastes correlate with those of the
reference's category, and the keywords with the highest posterior worth there (`looks`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from generators.keywords import Keywords
from generators.ragar.looks import KeywordLooks, Looks
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.encoders.features import in_shards, item_texts
from recsim_gen.encoders.retrieval import Retrieved, ordered, padded, preference, retrieve, weights
from recsim_gen.models.prompts import keywords_line, taste_prompt

if TYPE_CHECKING:
    import torch

    from generators.ragar.config import RAGARConfig
    from recsim_gen.core.protocols import ExportedPart
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.models.family import ModelFamily

BATCH = 64
PREFIX = "taste."  # prefix of the evidence's weights


@dataclass(frozen=True)
class Inputs:
    """Inputs for B episodes: ``prompts`` p_g of the language model, ``keys`` the texts of E_key.

    ``preference`` (B, d_vis): P_ret (Eq. 5), or None if nothing is retrieved.
    """

    prompts: list[str]
    keys: list[str]
    preference: np.ndarray | None


class Evidence:
    """Encodings and keywords of a catalogue, and a taste model of training histories.

    It does not depend on any ranker. All items are encoded in fixed batches and cached by content: an image's
    conditions do not depend on other images.
    """

    def __init__(
        self, catalog: Catalog, family: ModelFamily, config: RAGARConfig, device: str | None
    ) -> None:
        self.catalog, self.family, self.config, self.device = catalog, family, config, device
        self._taste: KeywordLooks | None = None

    def learn(self, histories: Sequence[np.ndarray]) -> None:
        """Fit the taste model to the item rows of each training user."""
        self._taste = KeywordLooks(self.catalog, self.keywords, histories)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what was learned, on the CPU; {} for evidence by caption."""
        import torch

        if self._taste is None:
            return {}
        arrays = self._taste.model.arrays()
        return {f"{PREFIX}{n}": torch.from_numpy(np.ascontiguousarray(x)) for n, x in arrays.items()}

    def export(self, folder: Path) -> list[ExportedPart]:
        """Write the taste model, if there is one."""
        from recsim_gen.models.exporting import write_tensors

        what = "tastes for keywords in closed form: the arrays of `recsim_gen.taste.model.TasteModel`"
        arrays = {name.removeprefix(PREFIX): x for name, x in self.weights().items()}
        return [write_tensors(folder / "taste.safetensors", arrays, what)] if arrays else []

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what ``weights`` returned. Raises DataError if an array is missing."""
        from recsim_gen.taste.model import TasteModel

        if self.config.evidence == "taste":
            model = TasteModel.of_arrays({n.removeprefix(PREFIX): x.numpy() for n, x in weights.items()})
            self._taste = KeywordLooks(self.catalog, self.keywords, model=model)

    @cached_property
    def keywords(self) -> list[list[str]]:
        """w_i of every item (Eq. 6)."""
        keywords = Keywords(self.family, self.device, self.catalog).of_all()
        self.family.release("language_model")  # the trained model is a copy; two of 7 B are too many
        return keywords

    @cached_property
    def semantic(self) -> np.ndarray:
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
        """(n, d_vis) E_vis of every item's image (Eq. 4), the mean of the others for items without one."""
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
        """Return the inputs of episodes.

        Raises DataError for a history shorter than k, or a reference without text.
        """
        config = self.config
        for episode in episodes:
            self._check(episode)
        latest = [replace(e, history=e.history[-config.history :]) for e in episodes]
        retrieved, ret = self._retrieved(latest) if config.k else None, None
        if retrieved is None:
            chosen = [list(e.history) for e in latest]
        else:
            chosen = [rows.tolist() for rows in retrieved.between(0, config.k)]
            s = weights(retrieved.similarity, config.k, rule=config.weights)
            ret = preference(self.visual, retrieved.items, s).astype(np.float32)
        words = self._favourites(episodes, chosen)
        keys = [self.text(e.reference, liked) for e, liked in zip(latest, words, strict=True)]
        return Inputs([self._prompt(rows, key) for rows, key in zip(chosen, keys, strict=True)], keys, ret)

    def looks(self, episodes: Sequence[Episode]) -> list[Looks]:
        """Return candidate looks of each episode's reference, the most promising first.

        By caption a single one.
        """
        config = self.config
        if config.evidence == "taste":
            return self.taste.looks(episodes, most=config.looks, caution=config.caution)
        for episode in episodes:
            self._check(episode)
        latest = [replace(e, history=e.history[-config.history :]) for e in episodes]
        chosen = (
            [rows.tolist() for rows in self._retrieved(latest).between(0, config.k)]
            if config.k
            else [list(e.history) for e in latest]
        )
        alone = np.zeros(1)
        return [Looks([words], alone, alone, alone) for words in self._favourites(latest, chosen)]

    @property
    def taste(self) -> KeywordLooks:
        """The taste model for keywords. Raises SettingError before `learn` or `restore`."""
        if self._taste is None:
            raise SettingError("evidence by taste is learned from training histories: call fit or load first")
        return self._taste

    def _retrieved(self, episodes: Sequence[Episode]) -> Retrieved:
        """Return histories sorted by similarity with the reference: of captions, or of category tastes."""
        if self.config.evidence == "caption":
            return retrieve(episodes, self.semantic)
        rows, length = padded(episodes)
        category = self.taste.category
        references = category[[e.reference for e in episodes]]
        agreement = self.taste.model.agreement[references[:, None], category[rows]]
        return ordered(rows, agreement, length)

    def _favourites(self, episodes: Sequence[Episode], chosen: Sequence[Sequence[int]]) -> list[list[str]]:
        """Return keywords w′ of each episode: of its best look, or of the rows ``chosen`` (Eq. 6)."""
        if self.config.evidence == "taste":
            return [looks.keywords[0] for looks in self.looks(episodes)]
        return [self._frequent(e.reference, rows) for e, rows in zip(episodes, chosen, strict=True)]

    def of_items(self, rows: Sequence[int], others: Sequence[Sequence[int]]) -> Inputs:
        """Return prompts that end with the items' own keywords, after those of ``others``, as in GILL."""
        keys = [self.line(row) for row in rows]
        return Inputs([self._prompt(h, key) for h, key in zip(others, keys, strict=True)], keys, None)

    def line(self, row: int) -> str:
        """Return an item as category and keywords."""
        return key_line(str(self.catalog.categories[row]), self.keywords[row])

    def spoken(self, row: int) -> str:
        """Return the text of an item that learned states should resemble."""
        return self.line(row) if self.config.target_text == "keywords" else str(item_texts(self.catalog)[row])

    @cached_property
    def _categories(self) -> frozenset[str]:
        return frozenset(str(c).strip().lower() for c in np.unique(self.catalog.categories))

    def _frequent(self, reference: int, rows: Sequence[int]) -> list[str]:
        """Return w′ of the rows (Eq. 6) and, by the setting `reference`, of the reference's own keywords.

        ``category``: none of them. ``counted``: they count like those of the rows. ``first``: they come
        first.
        """
        own, counted = self.keywords[reference], self.config.reference == "counted"
        lists = [self.keywords[row] for row in ([*rows, reference] if counted else rows)]
        top = top_keywords(lists, self.config.keywords, without=self._categories)
        if self.config.reference != "first":
            return top
        first = [word for word in own if word.lower() not in self._categories]
        words = {word.lower() for word in first}
        return [*first, *(word for word in top if word.lower() not in words)]

    def text(self, reference: int, keywords: Sequence[str]) -> str:
        """Return the text of E_key: the reference's category, or a keyword of it, and these keywords."""
        category = str(self.catalog.categories[reference]).strip()
        return key_line(category or (self.keywords[reference] or [""])[0], keywords)

    def _prompt(self, rows: Sequence[int], key: str) -> str:
        return f"{taste_prompt([self.keywords[row] for row in rows])} {key}"

    def _check(self, episode: Episode) -> None:
        least = self.config.least_history
        if len(episode.history) < least:
            raise DataError(
                f"episode {episode.id}: a history of at least k = {least} items is wanted, "
                f"got {len(episode.history)}",
                remedy="Leave the episode out, or set a smaller k",
            )
        if not (
            str(self.catalog.captions[episode.reference]) + str(self.catalog.titles[episode.reference])
        ).strip():
            raise DataError(
                f"item {str(self.catalog.item_ids[episode.reference])!r}, the reference of episode "
                f"{episode.id}, has neither caption nor title",
                remedy="Caption the pictures (python -m recsim_gen.caption)",
            )


def top_keywords(lists: Sequence[Sequence[str]], n: int, *, without: Collection[str] = ()) -> list[str]:
    """Return w′: the ``n`` most frequent keywords of several items.

    Ties go to the first to appear; case is ignored. They are ordered by their mean positions in the lists,
    which is meaningful if lists are ordered: of two colours the first is the main one. ``without``: words in
    lower case to ignore, such as names of categories, which say what an item is, not what is liked about it.
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
    """Return the text for E_key: the category, then the liked keywords."""
    first = [category.strip()] if category.strip() else []
    named = {word.lower() for word in first}
    return keywords_line([*first, *(word for word in keywords if word.lower() not in named)])
