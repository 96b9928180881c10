"""The content ranker: what it ranks, what it says of pictures it never saw, and how sure it is."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from rankers.taste import NOISE, NOISES, TasteRanker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog
from recsim_gen.testing import worlds


@pytest.fixture(scope="module")
def fitted():
    catalog, chosen = worlds.pictures_only()
    return TasteRanker().fit(catalog, chosen, rng=Rng(0)), catalog, chosen


def test_a_known_user_is_their_own_history(fitted):
    ranker, _, chosen = fitted
    users = np.arange(chosen.n_users)
    train = chosen.split == "train"
    histories = [chosen.item[train & (chosen.user == u)] for u in users]
    torch.testing.assert_close(ranker.fold_in(histories), ranker.score(users), rtol=1e-5, atol=1e-5)


def test_ranks_are_those_of_the_slow_way(fitted):
    ranker, catalog, chosen = fitted
    draw = np.random.default_rng(0)
    users, items = draw.integers(chosen.n_users, size=60), draw.integers(chosen.n_items, size=60)
    new = {"image": catalog.features["image"][draw.integers(chosen.n_items, size=60)]}
    quick, slow = ranker.substitute(users, items, new), ranker.rebuild(users, items, new)
    np.testing.assert_array_equal(quick.rank, slow.rank)
    np.testing.assert_array_equal(quick.original_rank, slow.original_rank)
    np.testing.assert_allclose(quick.score, slow.score, atol=1e-9)


def test_a_picture_is_judged_without_the_words_of_the_item(fitted):
    """The change of score does not depend on what the item's text says."""
    ranker, catalog, chosen = fitted
    users, items = np.zeros(4, dtype=int), np.array([41, 42, 43, 44])
    new = {"image": np.repeat(catalog.features["image"][:1], 4, 0)}
    judged = ranker.substitute(users, items, new).score - ranker.substitute(users, items, new).original_score
    alone = ranker.appraise([chosen.item[(chosen.user == 0) & (chosen.split == "train")]] * 4, items, new)
    own = ranker.appraise([chosen.item[(chosen.user == 0) & (chosen.split == "train")]] * 4, items, {})
    np.testing.assert_allclose(judged, alone.mean - own.mean, atol=1e-9)


def test_who_chose_more_is_known_better(fitted):
    ranker, catalog, chosen = fitted
    history = chosen.item[(chosen.user == 0) & (chosen.split == "train")]
    new = {"image": catalog.features["image"][:1]}
    doubts = [ranker.appraise([history[:k]], np.array([45]), new).sd[0] for k in range(1, len(history) + 1)]
    assert all(after <= before + 1e-12 for before, after in pairwise(doubts))
    assert ranker.uncertainty(np.array([0]), np.array([45]), new)[0] == pytest.approx(doubts[-1])


def test_noise_is_chosen_on_validation_unless_it_is_given(fitted):
    ranker, catalog, chosen = fitted
    assert ranker.valid["surprise"] > 0
    assert all(model.noise[0] in NOISES for model in ranker.models.values())
    given = [TasteRanker(noise=noise, width=2).fit(catalog, chosen, rng=Rng(0)) for noise in NOISES]
    for noise, one in zip(NOISES, given, strict=True):
        assert all(model.noise[0] == noise for model in one.models.values())
        assert one.models["image"].whitening.shape[1] == 2
    free = TasteRanker(width=2).fit(catalog, chosen, rng=Rng(0))
    assert free.valid["surprise"] == min(one.valid["surprise"] for one in given)
    with pytest.raises(SettingError, match="smoothing above 0"):
        TasteRanker(smoothing=0.0)


def test_without_validation_choices_the_noise_is_the_stated_one(fitted):
    _, catalog, chosen = fitted
    chosen = chosen.with_split(np.where(chosen.split == "valid", "train", chosen.split))
    ranker = TasteRanker().fit(catalog, chosen, rng=Rng(0))
    assert ranker.valid == {}
    assert all(model.noise[0] == NOISE for model in ranker.models.values())


def test_without_features_it_says_so():
    catalog, chosen = worlds.noise()
    bare = Catalog(catalog.item_ids, catalog.titles, catalog.captions, catalog.categories)
    with pytest.raises(DataError, match="taste needs item features"):
        TasteRanker().fit(bare, chosen, rng=Rng(0))
