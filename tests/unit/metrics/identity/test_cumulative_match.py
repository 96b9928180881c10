"""Cumulative match: by hand, by counting all orders of ties, and by chance."""

from itertools import permutations

import numpy as np
import pytest

from recsim_gen.metrics.identity.cumulative_match import cumulative_match, match_chance


def test_it_is_whether_one_of_the_first_is_relevant():
    distance = np.array([[0.1, 0.2, 0.3, 0.4]] * 3)
    relevant = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    found = cumulative_match(distance, relevant, (1, 2, 3, 9))
    np.testing.assert_allclose(found, [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    without = cumulative_match(distance, relevant, (1, 2), np.array([True, False, True, True]))
    np.testing.assert_allclose(without[0], [0, 1])


def test_ties_count_by_all_their_orders():
    rng = np.random.default_rng(0)
    for _ in range(20):
        distance = rng.integers(0, 3, 5).astype(float)
        relevant = rng.random(5) < 0.5
        orders = [np.argsort(distance[list(p)], kind="stable") for p in permutations(range(5))]
        shuffled = [np.array(p)[o] for p, o in zip(permutations(range(5)), orders, strict=True)]
        by_hand = [np.mean([relevant[o[:k]].any() for o in shuffled]) for k in (1, 2, 4)]
        found = cumulative_match(distance[None], relevant[None], (1, 2, 4))[0]
        np.testing.assert_allclose(found, by_hand, atol=1e-12)


def test_all_tied_is_chance():
    relevant = np.arange(12) < 3
    tied = cumulative_match(np.zeros((1, 12)), relevant[None], (1, 5, 10, 20))
    chance = match_chance(np.array([3]), np.array([12]), (1, 5, 10, 20))
    np.testing.assert_allclose(tied, chance)
    assert chance[0, 0] == pytest.approx(3 / 12)
    assert chance[0, -1] == 1


def test_it_grows_with_the_pictures_looked_at():
    rng = np.random.default_rng(1)
    found = cumulative_match(rng.random((50, 30)), rng.random((50, 30)) < 0.1, range(1, 31))
    assert (np.diff(found, axis=1) >= 0).all()
