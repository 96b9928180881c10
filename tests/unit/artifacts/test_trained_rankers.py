"""Stages: a trained ranker is found again by what went into it, and only by that."""

import shutil

import numpy as np
import pytest
import torch

from rankers.bpr import BPRRanker as BPR
from recsim_gen.artifacts import trained_rankers as stages
from recsim_gen.artifacts.trained_rankers import make_ranker, trained_ranker, trained_rankers
from recsim_gen.core.errors import SettingError
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.store import cache_dir
from recsim_gen.testing import worlds

SETTINGS = {"epochs": 2, "embedding_size": 8, "knn_k": 5}
CATALOG, CHOSEN = worlds.noise()


@pytest.fixture(autouse=True)
def _apart(apart):
    pass


def kept() -> int:
    return len(list((cache_dir() / "rankers").glob("*/config.json")))


@pytest.fixture
def trainings(monkeypatch):
    """The names of all rankers that are trained, in order."""
    trained = []
    for kind in ("micro", "bpr", "lightgcn"):
        of_kind = type(make_ranker(kind))

        def fit(self, *args, _fit=of_kind.fit, **how):
            trained.append(self.name)
            return _fit(self, *args, **how)

        monkeypatch.setattr(of_kind, "fit", fit)
    return trained


def test_the_same_is_trained_once_and_anything_else_anew(trainings):
    curves = []

    def train(spec="micro", settings=SETTINGS, catalog=CATALOG, chosen=CHOSEN, seed=0):
        spec, told = RankerSpec(spec, settings), curves.append
        return trained_ranker(spec, catalog, chosen, seed=seed, on_epoch=lambda *epoch: told(epoch))

    first, again = train(), train()
    assert trainings == ["micro"]
    assert [epoch for epoch, _ in curves] == [1, 2, 1, 2]
    assert curves[:2] == curves[2:]  # how it went is told again
    assert "loss" in curves[0][1]
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.score(np.arange(30)), first.score(np.arange(30)))
    rate = make_ranker("micro").config.learning_rate
    train(settings={**SETTINGS, "learning_rate": rate, "recipe": "default"})  # the same, said otherwise
    assert kept() == 1
    swapped = CATALOG.with_features("image", np.array([0]), CATALOG.features["image"][[1]])
    others = [
        {"seed": 1},
        {"settings": {**SETTINGS, "knn_k": 6}},
        {"catalog": swapped},
        {"chosen": worlds.noise(seed=1)[1]},
        {"spec": "micro:published-code"},
        {"spec": "lightgcn", "settings": {"epochs": 2}},
    ]
    for number, other in enumerate(others, 2):
        assert train(**other).fingerprint != first.fingerprint
        assert kept() == number


def test_a_ranker_whose_training_changed_is_trained_anew(trainings, monkeypatch):
    """One number raised trains that kind of ranker again, and no other."""

    def train(spec):
        trained_ranker(RankerSpec(spec, {"epochs": 1}), CATALOG, CHOSEN, seed=0)

    train("bpr"), train("lightgcn")
    monkeypatch.setattr(BPR, "training_version", BPR.training_version + 1)
    train("bpr"), train("bpr"), train("lightgcn")
    assert trainings == ["bpr", "lightgcn", "bpr"]
    assert kept() == 3


def test_a_training_that_was_stopped_is_not_found():
    def stop(epoch, numbers):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained_ranker(RankerSpec("bpr", {"epochs": 5}), CATALOG, CHOSEN, seed=0, on_epoch=stop)
    assert kept() == 0
    whole = trained_ranker(RankerSpec("bpr", {"epochs": 5}), CATALOG, CHOSEN, seed=0)
    assert kept() == 1
    assert whole.best_epoch == 5


def test_seeds_trained_side_by_side_are_those_trained_one_by_one(monkeypatch):
    """Their numbers of every epoch are told too."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    epochs: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def trained(seeds):
        on_epoch = lambda seed: lambda epoch, numbers: epochs[seed].append(epoch)  # noqa: E731
        return trained_rankers(RankerSpec("micro", SETTINGS), CATALOG, CHOSEN, seeds=seeds, on_epoch=on_epoch)

    one_by_one = {s: r.fingerprint for s, r in trained([0, 1]).items()}
    assert epochs == {0: [1, 2], 1: [1, 2], 2: []}
    for folder in (cache_dir() / "rankers").iterdir():
        shutil.rmtree(folder)
    trained([0])
    monkeypatch.setattr(stages, "WORTH_PROCESSES", 0)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    together = trained([0, 1, 2])
    assert {s: together[s].fingerprint for s in (0, 1)} == one_by_one
    assert list(together) == [0, 1, 2]
    assert epochs == {0: [1, 2] * 3, 1: [1, 2] * 2, 2: [1, 2]}


def test_names_recipes_and_classes():
    assert make_ranker("micro:published-code").config.sampling == "user-repeated"
    assert make_ranker(RankerSpec("micro", {"recipe": "published-code"})).config.sampling == "user-repeated"
    assert make_ranker(RankerSpec("rankers.bpr:BPRRanker", {"epochs": 3})).config.epochs == 3
    for spec, message in (
        ("mcro", "unknown ranker 'mcro'. Did you mean 'micro'"),
        ("micro:publshed-code", "unknown recipe 'publshed-code'.*Did you mean 'published-code'"),
        ("popularity:x", "unknown recipe 'x'"),
        ("rankers.micro:MICRORnker", "'rankers.micro' has no 'MICRORnker'"),
    ):
        with pytest.raises(SettingError, match=message):
            make_ranker(spec)
    for spec, message in (
        (RankerSpec("bpr", {"epohcs": 3}), "unknown setting 'epohcs'"),
        (RankerSpec("popularity", {"epochs": 3}), "unknown setting 'epochs'"),  # has nothing to set
    ):
        with pytest.raises(SettingError, match=message):
            make_ranker(spec)


def test_a_ranker_of_the_readers_own_needs_no_registration(apart, monkeypatch):
    """``module:Class``, the module in one file or in a package."""
    (apart / "mymodule.py").write_text("from rankers.popularity import Popularity as MyRanker\n")
    monkeypatch.syspath_prepend(str(apart))
    assert make_ranker("mymodule:MyRanker").name == "popularity"
    assert make_ranker("rankers.popularity:Popularity").name == "popularity"
    with pytest.raises(SettingError, match="unknown ranker 'mcro'"):
        make_ranker("mcro:published-code")
