"""The ranker contract, for each ranker; and who must beat whom in a known world."""

from typing import ClassVar

import numpy as np
import pytest

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds
from recsim_gen.testing.ranker_contract import LONG, SHORT, LearnedRankerContract, RankerContract


class TestPopularity(RankerContract):
    spec = "popularity"
    learns = False

    def test_it_counts_the_train_split(self):
        _, chosen = worlds.noise()
        count = np.bincount(chosen.only("train")[1], minlength=40)
        ranker = self.fitted()
        for scores in (ranker.score(np.array([0, 7])), ranker.fold_in([[3], [4]])):
            assert (scores.numpy() == count).all()


class TestBPR(LearnedRankerContract):
    spec = "bpr"
    blind = True


class TestLightGCN(LearnedRankerContract):
    spec = "lightgcn"
    blind = True


class TestMICRO(LearnedRankerContract):
    spec = "micro"
    settings: ClassVar = {**SHORT, "knn_k": 5}
    enough: ClassVar = {**LONG, "knn_k": 5}


class TestMICROAsPublished(LearnedRankerContract):
    spec = "micro:published-code"
    settings: ClassVar = {**SHORT, "knn_k": 5}
    enough: ClassVar = {**LONG, "knn_k": 5, "negative_cosine": "clamp"}  # kept, they end in NaN there

    def test_what_negative_cosines_lead_to_is_told(self):
        """They do in one training of six or so; this is one."""
        ranker = self.make(**{**self.enough, "negative_cosine": "keep", "sampling": "user"})
        with pytest.raises(SettingError, match=r"NaN.*set negative_cosine=clamp"):
            ranker.fit(*worlds.checkerboard(), rng=Rng(0))


@pytest.mark.usefixtures("apart")
def test_where_only_the_picture_tells_micro_alone_sees_it():
    """Among items that nobody chose in training: how often one of the user's style beats another."""
    catalog, chosen = worlds.pictures_only()
    settings = {"epochs": 15, "eval_step": 15, "learning_rate": 0.005, "train_batch_size": 128}
    share = {}
    for spec in ("bpr", "lightgcn", "micro"):
        ranker = make_ranker(RankerSpec(spec, settings)).fit(catalog, chosen, rng=Rng(0))
        share[spec] = worlds.own_style_wins(ranker, chosen)
    assert share["micro"] > 0.95
    assert 0.4 < share["bpr"] < 0.6
    assert 0.4 < share["lightgcn"] < 0.6
