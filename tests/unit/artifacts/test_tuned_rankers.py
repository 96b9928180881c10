"""The search of settings: equal for all rankers, on validation alone, and never done twice."""

import dataclasses

import numpy as np
import pytest
from tiny_ranker import Favourite

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.artifacts.tuned_rankers import best_of, run_trials, trials_of
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import RANKER_CONFIGS, RANKERS
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

FAVOURITE = RankerSpec("tiny_ranker:Favourite")


@pytest.fixture
def world(apart):
    """Everybody's validation choice is item 7, and their test choice item 3."""
    Favourite.trained.clear()
    choices = [[10 + u, 11 + u, 7, 3] for u in range(8)]
    return worlds.catalog({"image": np.eye(20)}), worlds.interactions(choices, 20)


@pytest.mark.parametrize("name", RANKERS)
def test_whatever_is_drawn_can_be_set(name):
    trials = trials_of(RankerSpec(name), 40, Rng(0))
    assert len(trials) == (1 if name == "popularity" else 40)
    known = {field.name for field in dataclasses.fields(make_ranker(name).config)}
    for trial in trials:
        config = make_ranker(trial.spec).config
        assert set(trial.drawn) <= known
        assert all(getattr(config, setting) == value for setting, value in trial.drawn.items())
    assert name in RANKER_CONFIGS
    for setting in trials[-1].drawn:  # each is searched, not only named
        assert len({trial.drawn[setting] for trial in trials[1:]}) > 2


def test_the_first_trial_is_the_ranker_as_given_and_what_is_given_stays():
    spec = RankerSpec("lightgcn", {"n_layers": 3})
    trials = trials_of(spec, 5, Rng(0))
    assert trials[0].spec == spec
    assert trials[0].drawn == {}
    for trial in trials[1:]:
        assert trial.spec.settings == {"n_layers": 3, **trial.drawn}
        assert "n_layers" not in trial.drawn
    assert trials_of(spec, 3, Rng(0)) == trials[:3]
    assert trials_of(spec, 5, Rng(1))[1:] != trials[1:]


def test_the_best_on_validation_wins_and_the_test_split_is_not_asked(world):
    trials = trials_of(FAVOURITE, 40, Rng(0))
    assert {7, 3} <= {trial.drawn.get("item") for trial in trials}
    done = run_trials(trials, *world, seed=0)
    best = best_of(done)
    assert best.drawn == {"item": 7}
    assert best.valid == {"recall@20": 1.0, "ndcg@20": 1.0, "ndcg_retrieved@20": 1.0}
    assert str(best) == f"trial {best.number}: item 7"


def test_a_trial_is_not_run_twice(world):
    trials = trials_of(FAVOURITE, 40, Rng(0))
    first = run_trials(trials, *world, seed=0)
    assert sorted(Favourite.trained) == sorted(set(Favourite.trained))  # also within one search
    trained = len(Favourite.trained)
    assert run_trials(trials, *world, seed=0) == first
    assert len(Favourite.trained) == trained
    run_trials(trials[:1], *world, seed=1)
    assert len(Favourite.trained) == trained + 1


def test_what_cannot_be_searched_is_told(world):
    with pytest.raises(SettingError, match="a search needs 1 trial or more, got 0"):
        trials_of(FAVOURITE, 0, Rng(0))
    catalog, chosen = world
    without = chosen.with_split(np.where(chosen.split == "valid", "train", chosen.split))
    with pytest.raises(DataError, match="a search needs a validation split, got none"):
        run_trials(trials_of(FAVOURITE, 2, Rng(0)), catalog, without, seed=0)
