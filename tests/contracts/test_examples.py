"""Parts outside the library, as `examples/` writes them, hold what the library's own do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from generators.images import image_of, to_pixels
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.datasets.opening import open_data
from recsim_gen.testing import DatasetContract, GeneratorContract, RankerContract, tiny, worlds

__all__ = ["tiny"]  # a fixture

SMALL = {"n_items": 60, "n_users": 20, "choices": 6}


class TestDigits(DatasetContract):
    def make(self):
        return open_data("digits:shop", **SMALL)


class TestTint(GeneratorContract):
    name = "tint:Tint"
    still = True
    uses_models = False

    def test_its_colours_are_those_of_the_history(self):
        shop, (episode, *_) = self.shop, self.episodes
        likes = replace(episode, history=episode.history[:1])
        pictures = {
            s: self.fitted(strength=s).generate([likes], rng=Rng(0)).pixels[0] for s in (0.0, 0.5, 1.0)
        }
        own, liked = (to_pixels(image_of(shop.catalog, row)) for row in (likes.reference, likes.history[0]))
        assert torch.equal(pictures[0.0], own)
        far = [(x.mean((1, 2)) - liked.mean((1, 2))).abs().sum() for x in pictures.values()]
        assert far[0] > far[1] > far[2]

    def test_a_strength_out_of_range_is_told(self):
        with pytest.raises(SettingError, match="strength must be 0 to 1, got 2"):
            self.make(strength=2.0)


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
