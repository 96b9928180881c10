"""The ranker contract for the other two rankers that look at items, and what they share with MICRO."""

import functools
from typing import ClassVar

import numpy as np
import pytest

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds
from recsim_gen.testing.ranker_contract import LONG, SHORT, LearnedRankerContract, RankerContract


class TestLATTICE(LearnedRankerContract):
    spec = "lattice"
    settings: ClassVar = {**SHORT, "knn_k": 5}
    enough: ClassVar = {**LONG, "knn_k": 5}


class TestLATTICEAsPublished(LearnedRankerContract):
    spec = "lattice:published-code"
    settings: ClassVar = {**SHORT, "knn_k": 5}
    enough: ClassVar = {**LONG, "knn_k": 5, "negative_cosine": "clamp"}  # kept, they end in NaN there


class TestVBPR(LearnedRankerContract):
    spec = "vbpr"
    settings: ClassVar = {**SHORT, "feature_size": 8}
    enough: ClassVar = {**LONG, "feature_size": 16}


class TestDIN(LearnedRankerContract):
    spec = "din"
    settings: ClassVar = {**SHORT, "valid_metric": "Recall@20"}
    enough: ClassVar = {
        **LONG,
        "epochs": 40,
        "eval_step": 40,
        "train_batch_size": 12,
        "alone": 0.0,
        "learning_rate": 0.002,
        "learning_rate_decay": 0.96,
    }


class TestTaste(RankerContract):
    spec = "taste"
    learns = False


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each ranker trained where only the picture tells, when first asked for; and that world."""
    catalog, chosen = worlds.pictures_only()
    settings = {"epochs": 15, "eval_step": 15, "learning_rate": 0.005, "train_batch_size": 128}

    @functools.cache
    def get(spec):
        chosen_settings = {} if spec == "taste" else settings
        return make_ranker(RankerSpec(spec, chosen_settings)).fit(catalog, chosen, rng=Rng(0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield get, catalog, chosen


@pytest.mark.parametrize("spec", ["lattice", "vbpr", "taste", "din"])
def test_where_only_the_picture_tells_they_see_it(trained, spec):
    """Among items that nobody chose in training: how often one of the user's style beats another."""
    get, _, chosen = trained
    assert worlds.own_style_wins(get(spec), chosen) > 0.95


@pytest.mark.parametrize("spec", ["micro", "lattice", "vbpr", "taste", "din"])
def test_the_best_picture_wins_and_the_worst_loses(trained, spec):
    """Each user is shown an item of no style of theirs as if it were of theirs, and the reverse."""
    get, catalog, chosen = trained
    ranker = get(spec)
    users = np.arange(chosen.n_users)
    for shown, ideal, sign in ((1, 0, 1), (0, 1, -1)):  # styles counted from the user's own
        items = (users + shown) % 4 * 40 + 25
        other = (users + ideal) % 4 * 40 + 30
        answer = ranker.substitute(users, items, {m: x[other] for m, x in catalog.features.items()})
        assert (sign * (answer.score - answer.original_score) > 0).mean() > 0.95
        assert (sign * (answer.original_rank - answer.rank) > 0).mean() > 0.95
