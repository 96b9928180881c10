"""What the verifier reads is read once for all metrics, and the category is the reference's or is not."""

from __future__ import annotations

import numpy as np
import pytest
from brought import shop

from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.boutique.attributes import CATEGORIES
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import open_metric, open_metrics, score_images
from recsim_gen.models.attribute_reader import ImageVerifier


@pytest.fixture(autouse=True)
def own_cache(apart):
    """Features of other tests are not found."""


def of_references(data: Dataset, n: int = 12) -> Rows:
    """Pictures of items of the catalogue, asked of as the references of others: half of them shifted."""
    item = np.arange(n)
    store = FeatureStore(Album())
    shown = np.where(item % 2 == 0, item, (item + 1) % n)
    return Rows(store, store.album.add_reader(data.catalog.images, shown), user=item, item=item)


def test_category_kept_is_the_truth_of_the_catalogues_own_pictures():
    data = shop()
    rows = of_references(data)
    shown = np.where(rows.item % 2 == 0, rows.item, (rows.item + 1) % len(rows))
    same = data.catalog.categories[shown] == data.catalog.categories[rows.item]
    assert not same.all()
    assert open_metric("category_kept", Resources(dataset=data))(rows).tolist() == same.tolist()


def test_a_picture_is_read_once_for_both_metrics(monkeypatch):
    data, read = shop(), []
    plain = ImageVerifier.read
    monkeypatch.setattr(
        ImageVerifier, "read", lambda self, x, **k: read.append(len(x)) or plain(self, x, **k)
    )
    rows = of_references(data)
    metrics = open_metrics(["category_kept", "oracle_utility"], Resources(dataset=data), has=rows.has)
    found = score_images(rows, metrics)
    assert sum(read) == len(np.unique(rows.image)) < len(rows)
    truth = data.utility(rows.user, data.world.codes[rows.item])
    own = rows.item % 2 == 0
    assert found["oracle_utility"].to_numpy()[own] == pytest.approx(truth[own])


def test_pictures_of_another_size_are_read_as_well():
    data = shop()
    look = data.world.attributes(0)
    store = FeatureStore(Album())
    image = store.album.add_images([render(look, Rng(0)).resize((128, 128))])
    rows = Rows(store, image, user=np.zeros(1, dtype=int), item=np.zeros(1, dtype=int))
    assert open_metric("category_kept", Resources(dataset=data))(rows).tolist() == [1.0]


def test_categories_that_it_does_not_know_are_told():
    data = shop()
    c = data.catalog
    other = Catalog(
        c.item_ids, c.titles, c.captions, np.where(c.categories == CATEGORIES[0], "film", c.categories)
    )
    films = Dataset("films", other, data.interactions, data.episodes, {})
    (metric,) = open_metrics(["category_kept"], Resources(dataset=films))
    assert str(metric).startswith("unavailable: needs a verifier of the categories of films")
    (metric,) = open_metrics(["category_kept"])
    assert str(metric).startswith("unavailable: needs the data")
