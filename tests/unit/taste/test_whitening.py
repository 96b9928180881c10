"""Soft whitening: what varies much gets variance 1 within categories, in any number of parts."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError
from recsim_gen.taste import whitening as module
from recsim_gen.taste.whitening import RIDGE, Components


def world(n=500):
    draw = np.random.default_rng(0)
    category = draw.integers(3, size=n)
    x = draw.standard_normal((n, 6)) @ draw.standard_normal((6, 6)) + 4 * category[:, None]
    return x.astype(np.float32), category


def within(x, category):
    means = np.stack([x[category == c].mean(0) for c in range(category.max() + 1)])
    return x - means[category]


def test_coordinates_are_uncorrelated_within_categories_and_their_variance_saturates():
    x, category = world()
    axes, z = Components.of(x, category, 4).whitened()
    np.testing.assert_allclose(z, within(x.astype(np.float64), category) @ axes, atol=1e-5)
    values = np.linalg.eigvalsh(np.cov(within(x, category).T, bias=True))[::-1][:4]
    share = values / values[0]
    np.testing.assert_allclose(z.T @ z / len(z), np.diag(share / (share + RIDGE)), atol=1e-5)


def test_the_scale_of_features_makes_no_difference():
    x, category = world()
    for factor in (0.01, 300.0):
        np.testing.assert_allclose(
            np.abs(Components.of(factor * x, category, 4).whitened()[1]),
            np.abs(Components.of(x, category, 4).whitened()[1]),
            atol=1e-4,
        )


def test_joined_components_read_features_side_by_side():
    x, category = world()
    parts = [Components.of(part, category, 3) for part in (x[:, :4], 50 * x[:, 4:])]
    joined = Components.joined(parts, category)
    beside = np.concatenate([x[:, :4], 50 * x[:, 4:]], axis=1)
    np.testing.assert_allclose((beside - joined.centre[category]) @ joined.axes, joined.y, atol=1e-4)
    np.testing.assert_allclose(joined.y.T @ joined.y / len(x), np.diag(joined.variance), atol=1e-5)
    assert joined.variance[0] == 1


def test_parts_do_not_matter(monkeypatch):
    x, category = world()
    whole = Components.of(x, category, 4)
    monkeypatch.setattr(module, "ROWS", 7)
    parts = Components.of(x, category, 4)
    np.testing.assert_allclose(np.abs(parts.y), np.abs(whole.y), atol=1e-6)


def test_what_does_not_vary_has_no_axis():
    x, category = world()
    x[:, 3:] = 1
    assert Components.of(x, category, 6).axes.shape[1] == 3
    with pytest.raises(DataError, match="differ within a category"):
        Components.of(np.ones((5, 2), np.float32), np.zeros(5, dtype=np.int64), 2)
