"""Average precision of identities: references, ties by brute force, and the level by chance."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from recsim_gen.core.errors import DataError
from recsim_gen.metrics.identity.average_precision import TIED, average_precision, chance_level, checked_unit


def plain(relevant: np.ndarray) -> float:
    """AP of one ranked list, by its definition."""
    precision = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return float((precision * relevant).sum() / relevant.sum())


def by_brute_force(distance: np.ndarray, relevant: np.ndarray) -> float:
    """The mean over all orders that sort the distances."""
    orders = [list(p) for p in permutations(range(len(distance))) if (np.diff(distance[list(p)]) >= 0).all()]
    return float(np.mean([plain(relevant[p]) for p in orders]))


def test_it_agrees_with_scikit_learn_where_nothing_is_tied():
    rng = np.random.default_rng(0)
    distance = rng.random((200, 60))
    relevant = rng.random((200, 60)) < rng.random((200, 1))
    relevant[:, 0] |= ~relevant.any(1)
    expected = [average_precision_score(r, -d) for d, r in zip(distance, relevant, strict=True)]
    np.testing.assert_allclose(average_precision(distance, relevant), expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7))
def test_ties_are_the_mean_over_all_their_orders(pictures):
    distance, relevant = (np.array(column) for column in zip(*pictures, strict=True))
    if not relevant.any():
        relevant[0] = True
    expected = by_brute_force(distance, relevant)
    assert average_precision(distance[None], relevant[None])[0] == pytest.approx(expected, abs=1e-12)


def test_the_order_of_the_gallery_does_not_matter():
    rng = np.random.default_rng(1)
    distance = rng.integers(0, 5, (50, 40)) / 4.0
    relevant = rng.random((50, 40)) < 0.3
    order = rng.permutation(40)
    np.testing.assert_allclose(
        average_precision(distance[:, order], relevant[:, order]),
        average_precision(distance, relevant),
        atol=1e-12,
    )


def test_distances_that_float32_does_not_tell_apart_are_tied():
    relevant = np.array([[True, False, False, False]])
    tied = average_precision(np.array([[0.5, 0.5 - TIED / 2, 0.9, 1.0]]), relevant)
    assert tied[0] == pytest.approx((1 + 1 / 2) / 2)
    assert average_precision(np.array([[0.5, 0.5 - 3 * TIED, 0.9, 1.0]]), relevant)[0] == 0.5


def test_what_is_not_eligible_is_as_if_it_were_not_there():
    rng = np.random.default_rng(2)
    distance = rng.integers(0, 8, (30, 20)) / 8.0
    relevant = rng.random((30, 20)) < 0.4
    eligible = rng.random((30, 20)) < 0.6
    eligible[:, 0] = True
    expected = [
        average_precision(d[None, e], r[None, e])[0]
        for d, r, e in zip(distance, relevant, eligible, strict=True)
    ]
    np.testing.assert_allclose(average_precision(distance, relevant, eligible), expected, atol=1e-12)


def test_perfect_worst_and_none():
    distance = np.tile(np.arange(6.0), (3, 1))
    relevant = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=bool)
    np.testing.assert_allclose(average_precision(distance, relevant), [1, 1 / 6, 0])


@pytest.mark.parametrize(
    ("identities", "pictures", "known"), [(5, 10, 0.257), (10, 15, 0.128), (15, 10, 0.095)]
)
def test_chance_of_the_published_galleries(identities, pictures, known):
    n = identities * pictures
    assert chance_level(pictures, n) == pytest.approx(known, abs=5e-4)
    all_tied = average_precision(np.zeros((1, n)), np.arange(n)[None] < pictures)
    assert chance_level(pictures, n) == pytest.approx(all_tied[0], abs=1e-12)
    rng = np.random.default_rng(0)
    drawn = average_precision(rng.random((4000, n)), np.tile(np.arange(n) < pictures, (4000, 1)))
    error = drawn.std() / np.sqrt(len(drawn))
    assert abs(drawn.mean() - chance_level(pictures, n)) < 4 * error


def test_chance_at_its_ends():
    np.testing.assert_allclose(chance_level(np.array([0, 1, 4, 1]), np.array([4, 1, 4, 2])), [0, 1, 1, 0.75])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DataError, match=r"must be \(B, n\), got \(2, 3\) and \(2, 4\)"):
        average_precision(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(DataError, match="must be finite"):
        average_precision(np.array([[np.nan, 1]]), np.ones((1, 2)))
    with pytest.raises(DataError, match=r"got norm 0"):
        checked_unit(np.zeros((2, 3)))
    with pytest.raises(DataError, match="can be relevant"):
        chance_level(np.array([5]), np.array([4]))
