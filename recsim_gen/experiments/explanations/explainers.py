"""Explainers by history: what a language model makes of it, what is counted in it, what a taste says of it.

Each finds attributes of the item that the history speaks for; the sentences around them are templates, for
the embedded language model was taught to name keywords and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from recsim_gen.core.protocols import Family
from recsim_gen.core.types import Episode, Explanation
from recsim_gen.experiments.explanations.shop import Shop
from recsim_gen.taste.histories import Histories
from recsim_gen.taste.keywords import KeywordTaste


class FromShop:
    """An explainer of a shop by the words that the family's language model finds for its items."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    @classmethod
    def check(cls, family: Family) -> None:
        """Raise MissingDependency where there is no language model."""
        family.require("language_model")


class KeywordExplainer(FromShop):
    """Asks the language model what somebody likes who chose this history (p_g), and names what the item has.

    In the order of its answer; where the item has nothing of it, there is no reason.
    """

    name = "keywords"

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Histories are cut to the latest items that the model can read."""
        language, items = self._shop.language, self._shop.items
        language.ask_tastes([e.history for e in episodes])
        found = []
        for e in episodes:
            own = {word.lower() for word in items.lists[e.reference]}
            taste = [word for word in language.taste(e.history) if word.lower() in own]
            found.append(self._shop.said(e.reference, taste))
        return found


class CountExplainer(FromShop):
    """Names the attributes that the history has more often than the catalogue, the most striking first."""

    name = "counted"

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """By `Shop.excess`."""
        shop = self._shop
        return [shop.explanation(e.reference, shop.excess(e.history, e.reference)) for e in episodes]


class TasteExplainer(FromShop):
    """Names the attributes that add most to the item's worth by the posterior of the person's taste.

    The model is `KeywordTaste`, whose prior is fitted to the choices of training; the posterior is the same
    formula of any history.
    """

    name = "taste"

    @cached_property
    def _taste(self) -> KeywordTaste:
        return KeywordTaste(self._shop.dataset.catalog, self._shop.keywords, self._shop.training)

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """By `KeywordTaste.contributions`."""
        histories = Histories.of([np.array(e.history) for e in episodes])
        references = np.array([e.reference for e in episodes], dtype=np.int64)
        worths = self._taste.contributions(histories, references)
        pairs = zip(references.tolist(), worths, strict=True)
        return [self._shop.explanation(item, worth) for item, worth in pairs]
