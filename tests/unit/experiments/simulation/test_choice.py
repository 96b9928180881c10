"""People choose as the closed form says, and send back what they would not have taken."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.experiments.simulation.choice import NOTHING, ChoiceModel
from recsim_gen.experiments.simulation.visits import Shown, visit

VISITS = 2_000_000
LIKED = np.array([[1.0, 2.0], [-0.5, 3.0]])  # two people, two items
MODEL = ChoiceModel(outside=0.7, attention=1.0)


def closed_form(person: int) -> np.ndarray:
    """First item, second item, nothing."""
    first, second = np.exp(LIKED[person, 0]), np.exp(LIKED[person, 1]) / 2
    nothing = np.exp(0.7)
    return np.array([first, second, nothing]) / (first + second + nothing)


def test_two_people_and_two_items_as_the_closed_form_has_it():
    everybody = np.arange(VISITS)
    for person in range(2):
        assert np.allclose(MODEL.probabilities(LIKED)[person], closed_form(person), atol=1e-12)
        liked = np.broadcast_to(LIKED[person], (VISITS, 2))
        shown = Shown(np.broadcast_to([0, 1], (VISITS, 2)), liked, liked)
        taken = visit(shown, MODEL, Rng(person), people=everybody, n_users=VISITS)
        share = [np.mean(taken.place == place) for place in (0, 1, NOTHING)]
        assert np.abs(share - closed_form(person)).max() < 1e-3
        assert not taken.returned.any()  # who gets what they saw


def test_what_is_sent_back_as_the_closed_form_has_it():
    """Of a single thing: taken as it looks, less taken as it is."""
    looks, is_, outside = 2.0, 0.4, 0.7
    seen, own = np.full((VISITS, 1), looks), np.full((VISITS, 1), is_)
    taken = visit(
        Shown(np.zeros((VISITS, 1), dtype=int), seen, own),
        ChoiceModel(outside, 1.0),
        Rng(0),
        people=np.arange(VISITS),
        n_users=VISITS,
    )
    logistic = [1 / (1 + np.exp(outside - v)) for v in (looks, is_)]
    assert abs(taken.returned.mean() - (logistic[0] - logistic[1])) < 1e-3
    assert (taken.place[taken.returned] == 0).all()


def test_without_position_bias_the_order_of_the_list_does_not_matter():
    liked = np.random.default_rng(0).standard_normal((5, 4))
    order = np.array([2, 0, 3, 1])
    model = ChoiceModel(0.0, 0.0)
    ahead, then = model.probabilities(liked), model.probabilities(liked[:, order])
    assert np.allclose(ahead[:, order], then[:, :4])
    biased = ChoiceModel(0.0, 1.0).probabilities(np.zeros((1, 3)))[0]
    assert np.allclose(biased[:3] / biased[0], [1, 1 / 2, 1 / 3])


def test_a_person_has_the_same_chance_whoever_else_visits():
    liked = np.random.default_rng(0).standard_normal((6, 3))
    lists = np.tile(np.arange(3), (6, 1))
    all_of_them = visit(Shown(lists, liked, liked), MODEL, Rng(1), people=np.arange(6), n_users=6)
    some = np.array([1, 4])
    two = visit(Shown(lists[some], liked[some], liked[some]), MODEL, Rng(1), people=some, n_users=6)
    assert (two.place == all_of_them.place[some]).all()


@pytest.mark.parametrize(("outside", "attention"), [(np.nan, 1.0), (0.0, -1.0), (np.inf, 0.0)])
def test_what_is_no_choice_is_refused(outside, attention):
    with pytest.raises(SettingError, match="outside must be a number, attention 0 or more"):
        ChoiceModel(outside, attention)
