"""The prior from co-choices: planted agreement and strength are found, chance is shrunk."""

import numpy as np

from recsim_gen.taste.prior import co_choices, correlation, prior_of

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
    draw = np.random.default_rng(0)
    features, category = draw.standard_normal((9, 2)), np.array([0, 0, 1] * 3)
    histories = [np.array([0, 1, 2]), np.array([4]), np.array([5, 6, 7, 8])]
    products, pairs = np.zeros((2, 2, 2)), np.zeros((2, 2))
    for history in histories:
        for i in history:
            for j in history:
                if i != j:
                    products[category[i], category[j]] += features[i] * features[j]
                    pairs[category[i], category[j]] += 1
    found = co_choices(histories, features, category)
    np.testing.assert_allclose(found[0], products, atol=1e-12)
    np.testing.assert_array_equal(found[1], pairs)


def test_with_one_choice_each_nothing_is_learned():
    features = np.random.default_rng(0).standard_normal((5, 3))
    prior = prior_of([np.array([k]) for k in range(5)], features, np.array([0, 1, 0, 1, 1]))
    np.testing.assert_array_equal(prior.agreement, np.eye(2))
    np.testing.assert_array_equal(prior.strength, 1)


def test_correlation_leaves_a_correlation_as_it_is():
    matrix = np.array([[1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(correlation(matrix), matrix, atol=1e-12)
