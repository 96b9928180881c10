"""Parts outside the library, as `examples/` writes them, hold what the library's own do."""

import numpy as np
import pytest
import worlds
from ranker_contract import RankerContract

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec


class TestCentroid(RankerContract):
    spec = "centroid:Centroid"
    learns = False


def test_what_looks_like_the_choices_comes_first():
    catalog, chosen = worlds.pictures_only()
    ranker = make_ranker("centroid:Centroid").fit(catalog, chosen, rng=Rng(0))
    user, item = chosen.only("train")
    scores = ranker.score(np.arange(chosen.n_users)).numpy()
    assert scores[user, item].mean() > scores.mean() + scores.std() / 2


def test_its_settings_are_checked_as_those_of_others_are():
    with pytest.raises(SettingError, match="shrinkage must be above 0, got 0"):
        make_ranker(RankerSpec("centroid:Centroid", {"shrinkage": 0.0}))
