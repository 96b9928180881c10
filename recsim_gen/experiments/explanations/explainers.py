"""Explainers based on the history: by a language model, by counting, or by a taste model.

Each selects attributes of the item that the history supports; the sentences around them are templates, since
the embedded language model was only trained to name keywords.
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
    """An explainer of a shop, based on the keywords that the family's language model gives its items."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    @classmethod
    def check(cls, family: Family) -> None:
        """Raise MissingDependency if there is no language model."""
        family.require("language_model")


class KeywordExplainer(FromShop):
    """Asks the language model for the taste behind the history (p_g); names the keywords that the item has.

    They are in the order of the answer; if the item has none of them, there is no reason.
    """

    name = "keywords"

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Return the explanations; histories are cut to the latest items that fit the model."""
        language, items = self._shop.language, self._shop.items
        language.ask_tastes([e.history for e in episodes])
        explanations = []
        for e in episodes:
            own = {word.lower() for word in items.lists[e.reference]}
            taste = [word for word in language.taste(e.history) if word.lower() in own]
            explanations.append(self._shop.said(e.reference, taste))
        return explanations


class CountExplainer(FromShop):
    """Names the attributes that are more frequent in the history than in the catalogue, largest first."""

    name = "counted"

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Return the explanations, by `Shop.excess`."""
        shop = self._shop
        return [shop.explanation(e.reference, shop.excess(e.history, e.reference)) for e in episodes]


class TasteExplainer(FromShop):
    """Names the attributes that add most to the item's worth under the posterior of the person's taste.

    The model is `KeywordTaste`, whose prior is fitted to the training choices; the posterior applies to any
    history.
    """

    name = "taste"

    @cached_property
    def _taste(self) -> KeywordTaste:
        return KeywordTaste(self._shop.dataset.catalog, self._shop.keywords, self._shop.training)

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Return the explanations, by `KeywordTaste.contributions`."""
        histories = Histories.of([np.array(e.history) for e in episodes])
        references = np.array([e.reference for e in episodes], dtype=np.int64)
        worths = self._taste.contributions(histories, references)
        pairs = zip(references.tolist(), worths, strict=True)
        return [self._shop.explanation(item, worth) for item, worth in pairs]
