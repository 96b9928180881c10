"""The search by Optuna: on validation alone, within the bounds, and the same whether it was killed or not."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import optuna
import pytest
import torch
from tiny_ranker import Favourite, FavouriteConfig

from recsim_gen.artifacts.searched_rankers import search, store_of
from recsim_gen.artifacts.tuned_rankers import best_of, space_of
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import RANKERS
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

NEAR = RankerSpec(f"{__name__}:Near")


class Near(Favourite):
    """Items by how near they are to its favourite: the nearer to what is chosen, the better."""

    def score(self, users):
        """(B, n)."""
        return -(torch.arange(self.n_items) - self.config.item).abs().float().repeat(len(users), 1)


@dataclass(frozen=True)
class OutsideConfig(FavouriteConfig):
    """As given, it has a value that is not searched."""

    item: int = 12


class Outside(Favourite):
    """A ranker whose recipe lies outside of its space."""

    config_class = OutsideConfig

    def __init__(self, *, device="cpu", **settings):
        self.config = OutsideConfig(**settings)


@dataclass(frozen=True)
class StillConfig:
    """Nothing to search."""


class Still(Favourite):
    """A ranker without a space."""

    config_class: ClassVar = StillConfig

    def __init__(self, *, device="cpu", **settings):
        self.config = StillConfig()


@pytest.fixture
def world(apart):
    """Everybody's validation choice is item 7, and their test choice item 3."""
    Favourite.trained.clear()
    choices = [[10 + u, 11 + u, 7, 3] for u in range(8)]
    return worlds.catalog({"image": np.eye(20)}), worlds.interactions(choices, 20)


def searched(world, store, trials, spec=NEAR, seed=0):
    return search(spec, *world, trials=trials, store=f"sqlite:///{store}", seed=seed)


def test_the_best_on_validation_is_found_within_the_bounds(world, tmp_path):
    trials = searched(world, tmp_path / "s.db", 24)
    assert [trial.number for trial in trials] == list(range(24))
    assert trials[0].drawn == {"item": 0}  # the ranker as given
    assert {trial.drawn["item"] for trial in trials} <= set(range(10))
    assert 3 in {trial.drawn["item"] for trial in trials}  # the test choice, which nothing was asked about
    assert best_of(trials).drawn == {"item": 7}
    assert best_of(trials).spec == RankerSpec(NEAR.name, {"item": 7})
    late = [trial.drawn["item"] for trial in trials[12:]]
    assert np.abs(np.array(late) - 7).mean() < 2  # by chance 3.1: it is led by what was told


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(world, tmp_path):
    whole = searched(world, tmp_path / "whole.db", 14)
    part = searched(world, tmp_path / "killed.db", 6)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/killed.db")
    study.ask({"item": optuna.distributions.IntDistribution(0, 9)})  # begun, never told
    Favourite.trained.clear()
    assert searched(world, tmp_path / "killed.db", 14) == whole
    assert part == whole[:6]
    assert searched(world, tmp_path / "killed.db", 3) == whole  # what is done stays
    assert Favourite.trained == []


def test_another_seed_is_another_search_in_the_same_store(world, tmp_path):
    first = searched(world, tmp_path / "s.db", 8)
    other = searched(world, tmp_path / "s.db", 8, seed=1)
    assert [t.drawn for t in first[1:]] != [t.drawn for t in other[1:]]
    assert searched(world, tmp_path / "s.db", 8) == first


def test_a_ranker_may_lie_outside_of_what_is_searched(world, tmp_path):
    spec = RankerSpec(f"{__name__}:Outside")
    trials = searched(world, tmp_path / "s.db", 6, spec=spec)
    assert trials[0].drawn == {"item": 12}
    assert {trial.drawn["item"] for trial in trials[1:]} <= set(range(10))
    assert searched(world, tmp_path / "s.db", 6, spec=spec) == trials


@pytest.mark.parametrize("name", sorted(set(RANKERS) - {"popularity"}))
def test_a_search_at_random_and_this_one_have_the_same_values(name):
    for domain in space_of(RankerSpec(name)).values():
        bounds, rng = domain.distribution(), np.random.default_rng(0)
        for value in [domain.draw(rng) for _ in range(50)]:
            optuna.create_trial(params={"x": value}, distributions={"x": bounds}, value=0.0)  # or ValueError
            assert domain.written(value) == value
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        asked = [domain.written(study.ask({"x": bounds}).params["x"]) for _ in range(50)]
        assert {type(x) for x in asked} == {type(domain.draw(rng))}
        assert len(set(asked)) > 2


def test_what_cannot_be_searched_is_told(world, tmp_path):
    with pytest.raises(SettingError, match="Still has nothing to search: its config names no search_space"):
        searched(world, tmp_path / "s.db", 3, spec=RankerSpec(f"{__name__}:Still"))
    given = RankerSpec(NEAR.name, {"item": 3})
    with pytest.raises(SettingError, match="has nothing to search beside item"):
        searched(world, tmp_path / "s.db", 3, spec=given)
    (tmp_path / "broken.db").write_text("no database, but longer than a header of one would be" * 9)
    with pytest.raises(SettingError, match=r"cannot be opened: .*not a database"):
        searched(world, tmp_path / "broken.db", 3)


def test_a_store_is_a_database(tmp_path):
    assert store_of(None, tmp_path / "50%") == f"sqlite:///{tmp_path}/50%25/search.db"
    assert store_of("sqlite:///s.db", tmp_path) == "sqlite:///s.db"
    assert store_of("postgresql+psycopg2://me@host/s", tmp_path).startswith("postgresql")
    with pytest.raises(SettingError, match=r"--storage must be a database, .*'searches'\. Known: sqlite"):
        store_of("searches", tmp_path)
    with pytest.raises(SettingError, match="Did you mean 'sqlite'"):
        store_of("sqlte:///s.db", tmp_path)
