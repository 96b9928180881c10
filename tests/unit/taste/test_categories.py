"""Which categories tastes are told apart by, with and without names for them."""

import numpy as np

from recsim_gen.core.types import Catalog
from recsim_gen.taste.categories import MOST_CATEGORIES, taste_categories


def test_categories_are_the_catalogues_the_largest_of_them_or_clusters_of_text():
    def catalog(categories, features=None):
        ids = [f"i{k}" for k in range(len(categories))]
        return Catalog(ids, ids, ids, categories, None, features or {})

    assert taste_categories(catalog(["a", "b"] * 5), 20).tolist() == [0, 1] * 5
    assert taste_categories(catalog([""] * 10), 20).tolist() == [0] * 10
    many = [str(k // 3) for k in range(600)] + ["big"] * 50
    codes = taste_categories(catalog(many), 20)
    assert len(np.unique(codes)) == MOST_CATEGORIES
    assert len(np.unique(codes[-50:])) == 1
    text = np.eye(4)[np.arange(80) % 4] + 0.01 * np.random.default_rng(0).standard_normal((80, 4))
    clusters = taste_categories(catalog([""] * 80, {"text": text}), 4)
    assert all(len(np.unique(clusters[np.arange(80) % 4 == k])) == 1 for k in range(4))
    assert len(np.unique(clusters)) == 4
