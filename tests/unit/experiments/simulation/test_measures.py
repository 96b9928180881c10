"""Measures are what a few lines say they are, and leaving people out is as if they had not come."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations

import numpy as np
import pytest
import shops

from recsim_gen.experiments.simulation.measures import (
    GROUPS,
    MEASURES,
    gini,
    groups_of,
    over_rounds,
    per_round,
)
from recsim_gen.experiments.simulation.rounds import History, play
from recsim_gen.experiments.simulation.visits import Visits


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """(shop, history of the original arm), where what came is worth one less than what was seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        shop = shops.shop(rounds=2)
        life = play(shop, 0)[0]
    rounds = tuple(replace(v, own=v.seen - 1, returned=v.chose & (v.seen < 1)) for v in life.rounds)
    return shop, replace(life, rounds=rounds)


def categories(shop) -> np.ndarray:
    return np.unique(shop.catalog.categories, return_inverse=True)[1]


def without(visits: Visits, gone: np.ndarray) -> Visits:
    """The visits of all others."""
    keep = ~np.isin(visits.people, gone)
    return Visits(**{f.name: getattr(visits, f.name)[keep] for f in fields(Visits)})


@pytest.mark.parametrize("meaning", ["packaging", "product"])
def test_leaving_a_group_out_is_as_if_it_had_not_come(played, meaning):
    shop, life = played
    group = groups_of(shop.dataset, shop.visitors)
    whole = over_rounds(per_round(life, meaning, group, categories(shop)))
    assert list(whole) == list(MEASURES)
    for g in (0, 7):
        gone = np.flatnonzero(group == g)
        rounds = tuple(without(v, gone) for v in life.rounds)
        recall = life.last_recall[~np.isin(life.rounds[-1].people, gone)]
        rest = History(life.arm, life.seed, rounds, recall)
        alone = over_rounds(per_round(rest, meaning, group, categories(shop)))
        for name in MEASURES:
            assert whole[name].ratio[1 + g] == pytest.approx(alone[name].ratio[0]), name


def test_measures_by_hand(played):
    shop, life = played
    group = groups_of(shop.dataset, shop.visitors)
    visits = life.rounds[0]
    found = {n: s.ratio[0] for n, s in per_round(life, "packaging", group, categories(shop))[0].items()}
    own = ~visits.explored
    chose = visits.chose & own
    assert found["choices"] == pytest.approx(chose.sum() / own.sum())
    assert found["expected"] == pytest.approx(visits.seen[chose].mean())
    assert found["delivered"] == pytest.approx(visits.seen[chose].mean() - 1)
    assert found["disappointment"] == pytest.approx(1)
    assert found["returns"] == pytest.approx((visits.seen[chose] < 1).mean())
    assert found["kept"] == pytest.approx((chose & ~visits.returned).sum() / own.sum())
    assert found["coverage"] == pytest.approx(len(np.unique(visits.lists)) / len(shop.catalog))
    assert found["recall@20"] == pytest.approx(life.rounds[1].recall.mean())
    looks = [tuple(look) for look in visits.first_look.tolist()]
    pairs = list(combinations(looks, 2))
    assert found["looks"] == pytest.approx(np.mean([a != b for a, b in pairs]))
    shares = [np.bincount(categories(shop)[row]) / len(row) for row in visits.lists]
    assert found["categories"] == pytest.approx(
        np.mean([np.exp(-sum(p * np.log(p) for p in s if p)) for s in shares])
    )
    product = per_round(life, "product", group, categories(shop))[0]
    assert product["disappointment"].ratio[0] == 0
    assert product["returns"].ratio[0] == 0
    assert product["kept"].ratio[0] == product["choices"].ratio[0]


def test_gini_of_known_shares():
    assert gini(np.array([[1.0, 1, 1], [0, 0, 5], [1, 2, 3]])) == pytest.approx([0, 2 / 3, 2 / 9])
    assert np.isnan(gini(np.zeros(3)))


def test_groups_hold_whole_people_and_are_alike_in_size():
    shop = shops.shop()
    people = np.repeat([f"p{k}" for k in range(30)], 2)  # two users a person
    group = groups_of(replace(shop.dataset, people=people, episodes=()), shop.visitors)
    assert (group[::2] == group[1::2]).all()
    assert set(np.bincount(group).tolist()) <= {2, 4}
    assert len(np.bincount(group)) == GROUPS
