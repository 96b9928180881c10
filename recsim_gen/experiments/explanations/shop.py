"""What explainers are made of: a catalogue with keywords of its items, who chose what, and the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import KEYWORDS, resolve
from recsim_gen.core.types import Catalog, Dataset, Explanation
from recsim_gen.taste.histories import Histories
from recsim_gen.taste.keywords import ItemKeywords

if TYPE_CHECKING:
    from recsim_gen.models.family import ModelFamily

THING = "item"  # where there is no category


@dataclass(frozen=True, eq=False)
class Shop:
    """What is explained, and with what.

    ``attributes``: how many a reason names at most; ``family``: the models that are asked, on ``device``.
    """

    dataset: Dataset
    family: ModelFamily
    attributes: int = 1
    device: str | None = None

    @cached_property
    def language(self) -> Any:
        """Keywords of items and tastes by the family's language model: a `generators.keywords.Keywords`."""
        return resolve(KEYWORDS, {}, "keywords")(self.family, self.device, self.dataset.catalog)

    @cached_property
    def keywords(self) -> list[list[str]]:
        """Keywords of every item, as the language model writes them of title and caption."""
        words: list[list[str]] = self.language.of_all()
        return words

    @cached_property
    def items(self) -> ItemKeywords:
        """The same without the names of categories: the attributes that a reason can name."""
        return ItemKeywords(self.dataset.catalog, self.keywords)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """All attributes of all items, in lower case."""
        return tuple(sorted({word.lower() for words in self.items.lists for word in words}))

    @cached_property
    def training(self) -> Histories:
        """What each user chose in training."""
        chosen = self.dataset.interactions
        return Histories.of_pairs(*chosen.only("train"), chosen.n_users)

    def excess(self, rows: Sequence[int] | np.ndarray, item: int) -> dict[str, float]:
        """How much more often each attribute of an item is among items ``rows`` than in the catalogue.

        As a difference of shares, in (−1, 1].
        """
        words, (different, times) = self.items.lists[item], np.unique(rows, return_counts=True)
        columns = np.array([self.items.places[key] for key in self.items.keys(words)], dtype=np.int64)
        share = times @ self._vectors[np.ix_(different, columns)] / times.sum()
        return dict(zip(words, (share - self._usual[columns]).tolist(), strict=False))

    @cached_property
    def _usual(self) -> np.ndarray:
        return self._vectors.mean(0)

    @cached_property
    def _vectors(self) -> np.ndarray:
        return self.items.vectors(self.items.lists)

    def text(self, item: int) -> str:
        """Return the item's caption, its title where it has none."""
        catalog = self.dataset.catalog
        return str(catalog.captions[item]).strip() or str(catalog.titles[item]).strip()

    def explanation(self, item: int, worth: Mapping[str, float]) -> Explanation:
        """Say that somebody likes what has the largest ``worth`` of the item's attributes, of those above 0.

        Equals stand in the order of ``worth``.
        """
        liked = sorted((word for word in worth if worth[word] > 0), key=lambda word: -worth[word])
        return self.said(item, liked)

    def said(self, item: int, liked: Sequence[str]) -> Explanation:
        """Both sentences, from a template around the first of the attributes that somebody likes."""
        thing = str(self.dataset.catalog.categories[item]).strip() or THING
        named = list(dict.fromkeys(word.lower() for word in liked))[: self.attributes]
        rest = [word for word in self.items.lists[item] if word.lower() not in named]
        if not named:
            reason = f"Nothing that you chose says why you would like this {thing}."
            return Explanation((), f"{thing} with {_listed(rest)}." if rest else f"{thing}.", reason)
        more = f", with {_listed(rest)}" if rest else ""
        caption = f"{thing} with {_listed(named)}, as you like it{more}."
        return Explanation(tuple(named), caption, f"You would like this {thing} for: {_listed(named)}.")


def check_texts(dataset: Dataset) -> None:
    """Raise DataError where an item that is to be explained has no text, or none tells more than ids do."""
    catalog, remedy = dataset.catalog, "Caption the pictures: python -m recsim_gen.caption"
    rows = list(dict.fromkeys(episode.reference for episode in dataset.episodes))
    for row in rows:
        if not f"{catalog.captions[row]}{catalog.titles[row]}".strip():
            raise DataError(
                f"item {str(catalog.item_ids[row])!r} has neither caption nor title: a reason names what a "
                "text tells of an item",
                remedy=remedy,
            )
    if not any(_tells_more(catalog, row) for row in rows):
        raise DataError(
            f"captions or titles are wanted, those of {dataset.name} tell ids and categories alone: a reason "
            "names what a text tells of an item",
            remedy=remedy,
        )


def _tells_more(catalog: Catalog, row: int) -> bool:
    """Whether caption or title say more than the item's id, which readers put in for none, and category."""
    name = str(catalog.item_ids[row])
    known = {name, f"item {name}", str(catalog.categories[row])}
    told = {str(catalog.captions[row]).strip(), str(catalog.titles[row]).strip()}
    return bool(told - {"", *known})


def _listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
