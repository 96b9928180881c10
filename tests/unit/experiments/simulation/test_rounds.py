"""Rounds of the shop: who is offered what, what is learned, and what is found again."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import shops

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.experiments.simulation import rounds as rounds_module
from recsim_gen.experiments.simulation.arms import Arm
from recsim_gen.experiments.simulation.rounds import History, play
from recsim_gen.experiments.simulation.rules import Rules
from recsim_gen.experiments.simulation.visits import Visits


def same(one: Visits, other: Visits) -> bool:
    columns = [f.name for f in fields(Visits)]
    return all(np.array_equal(getattr(one, c), getattr(other, c), equal_nan=c != "shown") for c in columns)


def alike(one: History, other: History) -> bool:
    return all(map(same, one.rounds, other.rounds)) and np.array_equal(one.last_recall, other.last_recall)


def test_nobody_is_offered_what_they_had_or_what_is_held_back(apart):
    shop = shops.shop(rounds=3)
    known = set(zip(shop.dataset.interactions.user, shop.dataset.interactions.item, strict=True))
    for life in play(shop, 0):
        had = set(known)
        for visits in life.rounds:
            offered = {(u, i) for u, row in zip(visits.people, visits.lists, strict=True) for i in row}
            assert len(offered) == visits.lists.size
            assert not offered & had
            had |= set(zip(*visits.choices, strict=True))


def test_the_ranker_learns_from_the_round_before(apart, monkeypatch):
    shop, logs = shops.shop(rounds=2, arms=[Arm("original")]), []
    learned = rounds_module._Learner.ranker
    monkeypatch.setattr(
        rounds_module._Learner, "ranker", lambda self, log: logs.append(log) or learned(self, log)
    )
    (life,) = play(shop, 0)
    base = shop.dataset.interactions
    assert len(logs) == 3  # one a round, and the one that learns from all
    assert logs[0] is base
    for visits, log in zip(life.rounds, logs[1:], strict=True):
        new = set(zip(*log.only("train"), strict=True)) - set(zip(*base.only("train"), strict=True))
        assert set(zip(*visits.choices, strict=True)) <= new
    assert (logs[2].time[-1] > base.time).all()


def test_what_was_played_is_found_again_and_goes_on(apart, monkeypatch):
    shop = shops.shop(rounds=2)
    first = play(shop, 0)
    with monkeypatch.context() as patch:
        patch.setattr(rounds_module, "shelves", None)  # nothing is to be played
        assert all(map(alike, play(shop, 0), first))
    longer = play(replace(shop, rules=replace(shop.rules, rounds=3)), 0)
    for one, more in zip(first, longer, strict=True):
        assert all(map(same, one.rounds, more.rounds[:2]))


@pytest.mark.parametrize("change", ["attention", "length", "seed", "ranker", "world"])
def test_a_round_is_named_by_all_that_it_depends_on(change):
    shop = shops.shop()
    other = {
        "attention": replace(shop, choice=replace(shop.choice, attention=0.5)),
        "length": replace(shop, rules=replace(shop.rules, length=9)),
        "ranker": replace(shop, ranker=replace(shop.ranker, settings={"noise": 2.0})),
        "world": replace(shop, world=replace(shop.world, fingerprint="other")),
        "seed": shop,
    }[change]
    assert shop.name(shop.arms[0], 0) != other.name(other.arms[0], int(change == "seed"))
    assert shop.name(shop.arms[0], 0) != shop.name(shop.arms[1], 0)


def test_without_exploring_an_arm_does_not_depend_on_the_others(apart):
    alone = shops.shop(arms=[Arm("original")], explore=0.0, rounds=2)
    beside = shops.shop(explore=0.0, rounds=2)
    assert alone.name(alone.arms[0], 0) == beside.name(beside.arms[0], 0)
    assert alike(play(alone, 0)[0], play(beside, 0)[0])


def test_chance_and_propensity_of_what_is_shown(apart):
    shop = shops.shop(2_000, rounds=2, explore=0.3)
    first, again = play(shop, 0)
    visits, later = first.rounds
    assert (later.shown == 0).all()  # lists differ by then
    assert (later.propensity == 1).all()
    assert not later.explored.any()
    assert set(np.unique(visits.propensity)) == {0.85, 0.15}
    assert (visits.propensity == np.where(visits.shown == 0, 0.85, 0.15)).all()
    assert abs((visits.shown == 1).mean() - 0.15) < 0.03
    assert abs(visits.explored.mean() - 0.3) < 0.04
    assert (visits.lists == again.rounds[0].lists).all()
    assert (visits.place != again.rounds[0].place).any()  # other random numbers


def test_split_puts_each_person_in_one_arm(apart):
    shop = shops.shop(assignment="split", rounds=1)
    lives = play(shop, 0)
    people = np.concatenate([life.rounds[0].people for life in lives])
    assert sorted(people.tolist()) == shop.visitors.tolist()
    assert {len(life.rounds[0].people) for life in lives} == {30}
    assert set(play(shop, 1)[0].rounds[0].people) != set(lives[0].rounds[0].people)


def test_some_people_visit_the_same_in_every_arm_and_seed(apart):
    shop = shops.shop(rounds=2, people=20)
    whole = shops.shop(rounds=2)
    of_arm = {tuple(life.rounds[-1].people) for seed in (0, 1) for life in play(shop, seed)}
    assert len(of_arm) == 1
    (people,) = of_arm
    assert len(people) == 20
    assert set(people) < set(whole.visitors.tolist())


def test_a_broken_kept_round_is_told(apart):
    shop = shops.shop(rounds=1)
    play(shop, 0)
    path = next((apart.parent / "cache" / "simulation").glob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="must be a stored round, got a broken file"):
        play(shop, 0)


def test_people_who_run_out_of_items_are_told_before_anything_is_played():
    with pytest.raises(DataError, match=r"every round needs lists of 10 items.*Lower --length"):
        shops.shop(20, 25)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"rounds": 0}, "rounds must be 1 or more, got 0"),
        ({"length": 0, "personal": 0}, "length must be 1 or more, got 0"),
        ({"personal": 11}, "personal must be 0 to the list's length 10, got 11"),
        ({"explore": 1.5}, "explore is a share of visits, 0 to 1, got 1.5"),
    ],
)
def test_rules_that_cannot_be_are_refused(rules, message):
    with pytest.raises(SettingError, match=message):
        Rules(**rules)


def test_another_ranker_of_the_same_settings_plays_other_rounds(apart, monkeypatch):
    """As when the code that trains it is another."""
    shop = shops.shop(rounds=1, arms=[Arm("original")])
    play(shop, 0)
    with monkeypatch.context() as patch:
        patch.setattr("rankers.taste.TasteRanker.fingerprint", "other")
        play(shop, 0)
    assert len([*(apart.parent / "cache" / "simulation").glob("*.npz")]) == 2
