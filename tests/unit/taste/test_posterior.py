"""Posterior of tastes: the kernel form against weights, and what evidence does."""

import numpy as np
import pytest

from recsim_gen.taste import histories as module
from recsim_gen.taste.posterior import posterior


def world(seed=0, *, n=40, categories=3, width=4):
    draw = np.random.default_rng(seed)
    root = draw.standard_normal((categories, categories))
    agreement = root @ root.T
    scale = np.sqrt(np.diag(agreement))
    return {
        "features": draw.standard_normal((n, width)),
        "category": draw.integers(categories, size=n),
        "agreement": agreement / scale[:, None] / scale,
        "strength": draw.uniform(0.2, 2, width),
        "noise": 1.7,
    }


def by_weights(history, category, w):
    """The same posterior as a Bayesian regression on all categories' tastes at once, one dimension each."""
    count = len(w["agreement"])
    mean, variance = [], []
    for k, s in enumerate(w["strength"]):
        prior = s * w["agreement"] + 1e-12 * np.eye(count)
        design = np.eye(count)[w["category"][history]]
        precision = np.linalg.inv(prior) + design.T @ design / w["noise"]
        covariance = np.linalg.inv(precision)
        mean.append((covariance @ design.T @ w["features"][history, k] / w["noise"])[category])
        variance.append(covariance[category, category])
    return np.array(mean), np.array(variance)


def test_it_is_the_regression_on_all_categories():
    w = world()
    histories = [np.array([3, 7, 8, 20]), np.array([1]), np.arange(12)]
    asked = np.array([[0, 2], [1, 0], [2, 1]])
    answer = posterior(histories, asked, **w)
    for b, history in enumerate(histories):
        for a, category in enumerate(asked[b]):
            mean, variance = by_weights(history, category, w)
            np.testing.assert_allclose(answer.mean[b, a], mean, atol=1e-6)
            np.testing.assert_allclose(answer.variance[b, a], variance, atol=1e-6)


def test_without_a_history_it_is_the_prior():
    w = world()
    answer = posterior([np.array([], dtype=int), np.array([2])], np.array([[1], [1]]), **w)
    np.testing.assert_array_equal(answer.mean[0, 0], 0)
    np.testing.assert_allclose(answer.variance[0, 0], w["strength"])
    assert (answer.variance[1] < answer.variance[0]).all()


def test_doubt_falls_with_every_choice():
    w = world()
    histories = [np.arange(k) for k in range(1, 20)]
    variance = posterior(histories, np.zeros((19, 1), dtype=int), **w).variance[:, 0]
    assert (np.diff(variance, axis=0) <= 1e-12).all()


def test_company_order_and_blocks_do_not_matter(monkeypatch):
    w = world()
    histories = [np.random.default_rng(k).permutation(40)[: 1 + k % 7] for k in range(15)]
    asked = np.arange(15)[:, None] % 3
    together = posterior(histories, asked, **w)
    monkeypatch.setattr(module, "BLOCK", 50)
    apart = posterior([h[::-1] for h in histories], asked, **w)
    np.testing.assert_allclose(apart.mean, together.mean, atol=1e-10)
    np.testing.assert_allclose(apart.variance, together.variance, atol=1e-10)


@pytest.mark.parametrize("agreement", [0.0, 1.0])
def test_a_category_tells_of_another_as_much_as_they_agree(agreement):
    w = world(categories=2)
    w["agreement"] = np.array([[1, agreement], [agreement, 1]])
    w["category"][:5] = 0
    own, other = posterior([np.arange(5)], np.array([[0, 1]]), **w).mean[0]
    np.testing.assert_allclose(other, agreement * own, atol=1e-10)
    assert np.abs(own).max() > 0.1
