"""The taste model on features: what it likes, how sure it is, and that it comes back as it was."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.taste.model import TasteModel

WIDTH = 3


@pytest.fixture(scope="module")
def world():
    """Items of two categories whose means differ; person p likes direction p % 2 in both."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((300, 6)) * [3, 2, 1, 0.3, 0.2, 0.1]
    category = np.arange(300) % 2
    x[category == 1] += 5
    histories = []
    for p in range(80):
        worth = (x - np.where(category[:, None], 5, 0))[:, p % 2] + draw.gumbel(size=300)
        histories.append(np.argsort(-worth)[:8])
    return x, category, histories, TasteModel.fit(x, category, histories, width=WIDTH, noise=2.0)


def test_coordinates_are_those_of_the_items(world):
    x, category, _, model = world
    z = model.coordinates(x, category)
    np.testing.assert_allclose(z, model.features)
    for c in (0, 1):
        np.testing.assert_allclose(z[category == c].mean(0), 0, atol=1e-10)


def test_what_is_chosen_is_liked(world):
    x, _, histories, model = world
    good = model.appraise(histories, np.zeros(80, dtype=int), x.mean(0) + 4 * np.eye(6)[np.arange(80) % 2])
    bad = model.appraise(histories, np.zeros(80, dtype=int), x.mean(0) - 4 * np.eye(6)[np.arange(80) % 2])
    assert (good.mean > bad.mean).mean() > 0.95


def test_doubt_is_larger_far_from_the_average_and_with_fewer_choices(world):
    _, _, histories, model = world
    centre, c = model.centre[:1], np.zeros(1, dtype=int)
    step = np.eye(6)[:1] * 3
    near, far = (model.appraise(histories[:1], c, centre + k * step).sd[0] for k in (1, 3))
    np.testing.assert_allclose(far, 3 * near)
    assert model.appraise([histories[0][:2]], c, centre + step).sd[0] > near
    assert model.appraise(histories[:1], c, centre).sd[0] == 0


def test_it_comes_back_from_its_arrays(world):
    _, _, histories, model = world
    again = TasteModel.of_arrays(model.arrays())
    asked = np.zeros((80, 1), dtype=int)
    np.testing.assert_array_equal(again.tastes(histories, asked).mean, model.tastes(histories, asked).mean)
    with pytest.raises(DataError, match="are missing: noise"):
        TasteModel.of_arrays({k: v for k, v in model.arrays().items() if k != "noise"})


def test_features_that_do_not_differ_are_refused():
    with pytest.raises(DataError, match="differ within a category"):
        TasteModel.fit(np.ones((6, 2)), np.array([0, 1] * 3), [np.arange(3)], width=2, noise=1.0)
