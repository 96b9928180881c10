"""Categories that the taste model distinguishes."""

from __future__ import annotations

import numpy as np

from recsim_gen.core.types import Catalog
from recsim_gen.core.vectors import unit

MOST_CATEGORIES = 64  # the largest ones; the rest form one category, since K could not be estimated for them
FEWEST_ITEMS = 2.0  # mean items per category below which categories are ignored


def taste_categories(catalog: Catalog, clusters: int) -> np.ndarray:
    """Return (n,) codes 0…C−1: the catalogue's largest categories, and one code for the rest.

    If categories are missing or hardly two items share one, clusters of text features are used instead, or a
    single category if there is no text.
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

    labels = MiniBatchKMeans(min(clusters, len(catalog)), random_state=0, n_init=3).fit_predict(unit(text))
    return np.unique(labels, return_inverse=True)[1]
