"""The prior from co-choices: planted agreement and strength are found, chance is shrunk."""

from itertools import permutations

import numpy as np
import pytest

from recsim_gen.taste.histories import Histories
from recsim_gen.taste.prior import agreement_products, correlation, prior_of, strength_products

GROUPS = np.array([0, 0, 0, 1, 1, 1])


def planted(people=3000, choices=12, seed=0, strength=(2.0, 1.0, 0.25)):
    """Choices as noisy looks at tastes that are one within a group of categories, and independent across."""
    draw = np.random.default_rng(seed)
    tastes = draw.standard_normal((people, 2, len(strength))) * np.sqrt(strength)
    category = draw.integers(6, size=people * choices)
    person = np.repeat(np.arange(people), choices)
    features = tastes[person, GROUPS[category]] + draw.standard_normal((len(category), len(strength)))
    return np.split(np.arange(len(category)), people), features, category


def test_planted_groups_and_strengths_are_found():
    histories, features, category = planted()
    prior = prior_of(histories, features, category)
    alike = GROUPS[:, None] == GROUPS
    assert prior.agreement[alike].min() > 0.9
    assert np.abs(prior.agreement[~alike]).max() < 0.1
    np.testing.assert_allclose(
        prior.strength / prior.strength.sum(), np.array([2, 1, 0.25]) / 3.25, atol=0.03
    )


def test_agreement_is_semi_definite_with_ones_on_its_diagonal():
    histories, features, category = planted(people=20, choices=4)
    agreement = prior_of(histories, features, category).agreement
    np.testing.assert_allclose(np.diag(agreement), 1)
    assert np.linalg.eigvalsh(agreement).min() > -1e-9


def test_a_choice_is_never_paired_with_itself():
    """Both sums of pairs against a loop over them."""
    draw = np.random.default_rng(0)
    features, category = draw.standard_normal((9, 2)), np.array([0, 0, 1] * 3)
    histories = [np.array([0, 1, 2]), np.array([4]), np.array([5, 6, 7, 8])]
    agreement, taste = np.array([[1, 0.3], [0.3, 1]]), np.array([[2.0, 0.5], [0.5, 1.0]])
    strength, weight, alike, number = np.zeros((2, 2)), 0.0, np.zeros((2, 2)), np.zeros((2, 2))
    for history in histories:
        for i, j in permutations(history, 2):
            a, b = category[i], category[j]
            strength += agreement[a, b] * np.outer(features[i], features[j])
            weight += agreement[a, b] ** 2
            alike[a, b] += features[i] @ taste @ features[j]
            number[a, b] += 1
    products, pairs = strength_products(Histories.of(histories), features, category, agreement)
    np.testing.assert_allclose(products, strength, atol=1e-12)
    assert pairs == pytest.approx(weight)
    products, pairs = agreement_products(Histories.of(histories), features, category, taste)
    np.testing.assert_allclose(products, alike, atol=1e-12)
    np.testing.assert_allclose(pairs, number, atol=1e-12)


def test_taste_that_lies_askew_is_found():
    """Tastes along one oblique direction: it comes first, and is orthonormal to the rest."""
    draw = np.random.default_rng(0)
    along = np.array([0.6, 0.8, 0, 0])
    tastes = draw.standard_normal((2000, 1)) * along
    features = np.repeat(tastes, 8, axis=0) + draw.standard_normal((16000, 4))
    prior = prior_of(np.split(np.arange(16000), 2000), features, np.zeros(16000, dtype=np.int64))
    assert abs(prior.directions[:, 0] @ along) > 0.99
    np.testing.assert_allclose(prior.strength, [1, 0, 0, 0], atol=0.06)
    np.testing.assert_allclose(prior.directions.T @ prior.directions, np.eye(4), atol=1e-10)


def test_directions_that_are_given_stay():
    """Equal to the learned ones where tastes lie along the features, each strength in its place."""
    histories, features, category = planted(strength=(0.25, 2.0, 1.0))
    given, learned = (prior_of(histories, features, category, turned=turned) for turned in (False, True))
    np.testing.assert_array_equal(given.directions, np.eye(3))
    np.testing.assert_allclose(np.sort(given.strength)[::-1], learned.strength, rtol=0.05)
    np.testing.assert_allclose(given.agreement, learned.agreement, atol=0.01)
    assert given.strength.argmax() == 1


def test_without_taste_there_is_next_to_no_strength():
    """The largest of many estimates is so by chance: what other people chose takes that away."""
    draw = np.random.default_rng(0)
    features, category = draw.standard_normal((3000, 40)), draw.integers(3, size=3000)
    histories = np.split(np.arange(3000), 300)
    products, pairs = strength_products(Histories.of(histories), features, category, np.eye(3))
    naive = np.linalg.eigvalsh(products / pairs).max()
    assert prior_of(histories, features, category).strength.max() < naive / 2


def test_with_one_choice_each_nothing_is_learned():
    features = np.random.default_rng(0).standard_normal((5, 3))
    prior = prior_of([np.array([k]) for k in range(5)], features, np.array([0, 1, 0, 1, 1]))
    np.testing.assert_array_equal(prior.agreement, np.eye(2))
    np.testing.assert_array_equal(prior.strength, 1)


def test_correlation_leaves_a_correlation_as_it_is():
    matrix = np.array([[1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(correlation(matrix), matrix, atol=1e-12)
