"""The categories that tastes are told apart by."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.types import Catalog
from recsim_gen.core.vectors import unit

MOST_CATEGORIES = 64  # the largest ones; all others are one, or K could not be told from chance
FEWEST_ITEMS = 2.0  # items a category, on average, below which a catalogue has no categories


def taste_categories(catalog: Catalog, clusters: int) -> np.ndarray:
    """(n,) codes 0…C−1: the catalogue's categories, the largest apart and the rest as one.

    Where they are empty or hardly two items share one, clusters of text features stand in, or all items are
    of one category where there is no text.
    """
    names, codes, size = np.unique(catalog.categories, return_inverse=True, return_counts=True)
    if len(names) <= len(catalog) / FEWEST_ITEMS and any(str(name).strip() for name in names):
        if len(names) <= MOST_CATEGORIES:
            return codes
        largest = np.argsort(-size, kind="stable")[: MOST_CATEGORIES - 1]
        place = np.full(len(names), MOST_CATEGORIES - 1)
        place[largest] = np.arange(MOST_CATEGORIES - 1)
        return place[codes]
    text = catalog.features.get("text")
    if text is None or (len(names) > 1 and len(catalog) < clusters * clusters):
        return np.zeros(len(catalog), dtype=np.int64)
    from sklearn.cluster import MiniBatchKMeans

    found = MiniBatchKMeans(min(clusters, len(catalog)), random_state=0, n_init=3).fit_predict(unit(text))
    return np.unique(found, return_inverse=True)[1]
