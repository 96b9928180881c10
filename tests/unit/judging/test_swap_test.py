"""The swap test: a judge that sees taste passes, one that sees something else or nothing does not."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Dataset, Episode
from recsim_gen.judging.swap_test import swap_test, swaps_of, wins_of
from recsim_gen.testing import worlds


@pytest.fixture(scope="module")
def world():
    """Items of four styles in one category; each person chooses one style, and only pictures tell."""
    catalog, chosen = worlds.pictures_only()
    ids = catalog.item_ids
    catalog = Catalog(ids, ids, ids, ["thing"] * len(ids), None, catalog.features)
    test = chosen.only("test")
    episodes = tuple(
        Episode(f"e{u}", int(u), str(chosen.user_ids[u]), (int(chosen.item[chosen.user == u][0]),), int(i))
        for u, i in zip(*test, strict=True)
    )
    return Dataset("styles", catalog, chosen, episodes, {}), catalog


def test_others_are_of_the_category_of_like_popularity_and_not_the_persons_own(world):
    dataset, catalog = world
    chosen = dataset.interactions
    degree = np.bincount(chosen.only("train")[1], minlength=len(catalog))
    swaps = swaps_of(dataset, catalog, Rng(0), others=7)
    assert len(swaps.items) == 60
    assert (np.bincount(swaps.choice) == 7).all()
    for b in range(60):
        mine = chosen.item[chosen.user == swaps.users[b]]
        others = swaps.other[swaps.choice == b]
        assert not np.isin(others, mine).any()
        left = np.setdiff1d(np.setdiff1d(np.arange(len(catalog)), mine), others)
        gap = np.abs(degree - degree[swaps.items[b]])
        assert gap[others].max() <= gap[left].min()
    again = swaps_of(dataset, catalog, Rng(0), others=7)
    np.testing.assert_array_equal(again.other, swaps.other)


def test_the_control_is_the_nearest_in_popularity_and_wears_the_others_pictures(world):
    dataset, catalog = world
    degree = np.bincount(dataset.interactions.only("train")[1], minlength=len(catalog))
    swaps = swaps_of(dataset, catalog, Rng(0), others=7)
    control = swaps.controls()
    assert (np.bincount(control.choice) == 6).all()
    for b in range(len(swaps.items)):
        others = swaps.other[swaps.choice == b]
        gap = np.abs(degree - degree[swaps.items[b]])
        assert gap[swaps.control[b]] == gap[others].min()
        assert set(control.other[control.choice == b]) == set(others) - {swaps.control[b]}


def test_a_judge_that_dislikes_every_own_picture_is_not_taken_for_one_that_sees_less(world):
    """It says of anybody and any item that another's picture is better: that is no taste."""
    dataset, catalog = world
    swaps = swaps_of(dataset, catalog, Rng(0))

    class Turned:
        def __init__(self, judge, shift):
            self.judge, self.shift = judge, shift

        def substitute(self, users, items, features, scope="graph"):
            answer = self.judge.substitute(users, items, features, scope)
            answer.score[:] += self.shift
            return answer

    blind = make_ranker("popularity").fit(catalog, dataset.interactions, rng=Rng(0))
    guard = swap_test([Turned(blind, 1.0)], swaps, catalog)
    assert (guard.numbers["auc"], guard.numbers["gain"], guard.verdict) == (0, 0, "is blind")
    sees = make_ranker("taste").fit(catalog, dataset.interactions, rng=Rng(0))
    guard = swap_test([Turned(sees, 3.0)], swaps, catalog)
    assert guard.numbers["auc_high"] < 0.5
    assert guard.verdict == "sees"


def test_what_sets_items_apart_can_be_taken_out_of_the_test(world):
    """Among items of one style there is nothing to see, also for the judge that sees styles."""
    dataset, catalog = world
    style = np.arange(len(catalog)) // 40
    swaps = swaps_of(dataset, catalog, Rng(0), groups=style)
    assert (style[swaps.other] == style[swaps.items[swaps.choice]]).all()
    sees = make_ranker("taste").fit(catalog, dataset.interactions, rng=Rng(0))
    assert abs(wins_of(sees, swaps, catalog).auc.mean() - 0.5) < 0.1
    with pytest.raises(SettingError, match=r"groups must be \(160,\), a label for each item, got \(2,\)"):
        swaps_of(dataset, catalog, Rng(0), groups=np.array(["a", "b"]))


def test_candidates_at_random_are_of_any_popularity(world):
    dataset, catalog = world
    degree = np.bincount(dataset.interactions.only("train")[1], minlength=len(catalog))
    near, drawn = (
        swaps_of(dataset, catalog, Rng(0), others=7, by_popularity=by_popularity)
        for by_popularity in (True, False)
    )
    assert degree[near.other].max() == 0  # as every choice of the test split
    assert degree[drawn.other].max() > 0
    assert len(np.unique(drawn.other)) > 100


def test_a_judge_that_sees_styles_passes_and_a_blind_one_does_not(world):
    dataset, catalog = world
    swaps = swaps_of(dataset, catalog, Rng(0))
    sees = make_ranker("taste").fit(catalog, dataset.interactions, rng=Rng(0))
    guard = swap_test([sees], swaps, catalog)
    assert guard.verdict == "sees"
    assert guard.numbers["auc_low"] > 0.7
    blind = make_ranker("popularity").fit(catalog, dataset.interactions, rng=Rng(0))
    np.testing.assert_array_equal(wins_of(blind, swaps, catalog).auc, 0.5)
    assert swap_test([blind], swaps, catalog).verdict == "is blind"


def test_a_judge_that_likes_the_opposite_is_told_so(world):
    dataset, catalog = world
    swaps = swaps_of(dataset, catalog, Rng(0))

    class Contrary:
        def substitute(self, users, items, features, scope="graph"):
            answer = sees.substitute(users, items, features, scope)
            answer.score[:], answer.original_score[:] = -answer.score, -answer.original_score
            return answer

    sees = make_ranker("taste").fit(catalog, dataset.interactions, rng=Rng(0))
    assert swap_test([Contrary()], swaps, catalog).verdict == "prefers others"


def test_a_judge_that_likes_copies_is_tested_by_other_pictures_of_the_items(world):
    """It gives more to an item that wears exactly what another item of the catalogue wears."""
    dataset, catalog = world
    swaps, x = swaps_of(dataset, catalog, Rng(0)), catalog.features["image"]

    class LikesCopies:
        def substitute(self, users, items, features, scope="graph"):
            answer = sees.substitute(users, items, features, scope)
            copies = (features["image"][:, None] == x).all(2) & (np.arange(len(x)) != items[:, None])
            answer.score[:] += 1e3 * copies.any(1)
            return answer

    sees = make_ranker("taste").fit(catalog, dataset.interactions, rng=Rng(0))
    guard = swap_test([LikesCopies()], swaps, catalog)
    assert (guard.numbers["auc"], guard.verdict) == (0, "is blind")
    again = x + np.float32(0.01) * Rng(1).numpy().standard_normal(x.shape, dtype=np.float32)
    np.testing.assert_array_equal(
        wins_of(LikesCopies(), swaps, catalog, again).auc, wins_of(sees, swaps, catalog, again).auc
    )
    assert swap_test([LikesCopies()], swaps, catalog, again).verdict == "sees"
    np.testing.assert_array_equal(wins_of(sees, swaps, catalog, x).auc, wins_of(sees, swaps, catalog).auc)


def test_only_items_that_have_another_picture_are_used(world):
    dataset, catalog = world
    pictured = np.arange(len(catalog)) % 2 == 0
    swaps = swaps_of(dataset, catalog, Rng(0), pictured=pictured)
    assert pictured[swaps.other].all()
    assert pictured[swaps.items].all()
    assert len(swaps.items) + swaps.left_out == 60


def test_what_cannot_be_asked_is_told(world):
    dataset, catalog = world
    with pytest.raises(SettingError, match="others must be 2"):
        swaps_of(dataset, catalog, Rng(0), others=1)
    ids = catalog.item_ids
    apart = Catalog(ids, ids, ids, ids, None, catalog.features)
    with pytest.raises(DataError, match="two others of their category, got none"):
        swaps_of(dataset, apart, Rng(0))
