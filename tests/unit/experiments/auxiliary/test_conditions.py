"""For whom pictures are drawn: policies, nesting, and the refusal of leaks."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Dataset, Episode
from recsim_gen.datasets.episodes import test_episodes as episodes_of
from recsim_gen.datasets.opening import open_data
from recsim_gen.experiments.auxiliary.conditions import assert_strict, conditions, pairs_of, shared_items
from recsim_gen.experiments.auxiliary.drawing import with_known_truth
from recsim_gen.experiments.methods import read_methods
from recsim_gen.testing import worlds


def data(n_users: int = 30, n_items: int = 40) -> Dataset:
    catalog, chosen = worlds.noise(n_users, n_items)
    return Dataset("world", catalog, chosen, episodes_of(chosen, chosen.user_ids), {})


DATA = data()
SPLIT = {
    (u, i): s
    for u, i, s in zip(DATA.interactions.user, DATA.interactions.item, DATA.interactions.split, strict=True)
}


def test_strict_knows_training_pairs_alone_and_paper_the_test_references():
    strict, paper = conditions(DATA, "strict", each=0), conditions(DATA, "paper", each=0)
    assert {SPLIT[u, i] for u, i in pairs_of(strict.episodes).tolist()} == {"train"}
    assert {SPLIT[e.user, e.reference] for e in paper.episodes} == {"test"}
    assert len(paper.episodes) == len(DATA.episodes)
    for chosen in (strict, paper):
        assert len(set(chosen.items.tolist())) == len(chosen.items)
        references = [e.reference for e in chosen.episodes]
        assert (chosen.items[chosen.place] == references).all()
        assert (np.diff(chosen.place) >= 0).all()


def test_which_items_are_replaced_under_strict_does_not_depend_on_the_test_split():
    """Else being replaced would tell who is asked for."""
    chosen = DATA.interactions
    swap = {"valid": "test", "test": "valid"}
    other = chosen.with_split(np.array([swap.get(s, s) for s in chosen.split.tolist()]))
    swapped = Dataset("world", DATA.catalog, other, episodes_of(other, other.user_ids), {})
    assert (conditions(swapped, "strict", items=9).items == conditions(DATA, "strict", items=9).items).all()


@pytest.mark.parametrize("policy", ["strict", "paper"])
def test_fewer_items_are_among_more(policy):
    whole = conditions(DATA, policy)
    for items in (2, 7, 15):
        part = conditions(DATA, policy, items=items)
        assert part.items.tolist() == whole.items[:items].tolist()
        assert set(part.episodes) <= set(whole.episodes)
    counts = [whole.first(fraction) for fraction in (0.001, 0.25, 0.5, 1.0)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == len(whole.items)


def test_each_item_has_its_latest_episodes():
    chosen, whole = DATA.interactions, conditions(DATA, "strict", each=0)
    when = {
        (u, i): t for u, i, t in zip(chosen.user, chosen.item, chosen.time, strict=True)
    }  # times tie between users: then the later row
    for each in (1, 2):
        part = conditions(DATA, "strict", each=each)
        assert (part.items == whole.items).all()
        for k, item in enumerate(part.items.tolist()):
            mine = [e for e in part.episodes if e.reference == item]
            every = [e for e in whole.episodes if e.reference == item]
            assert mine == every[-each:]
            assert [when[e.user, item] for e in every] == sorted(when[e.user, item] for e in every)
            assert (part.place == k).sum() == len(mine) == min(each, len(every))


def test_items_without_picture_are_left_alone(apart):
    shop = open_data("boutique", n_items=80, n_users=20)

    class Half:
        present = np.arange(80) % 2 == 0
        fingerprint = "half"

    from dataclasses import replace

    halved = replace(shop, catalog=replace(shop.catalog, images=Half()))
    for policy in ("strict", "paper"):
        assert (conditions(halved, policy).items % 2 == 0).all()


def test_a_leak_is_refused():
    chosen = DATA.interactions
    train = np.stack(chosen.only("train"), axis=1)
    assert_strict(train, chosen)
    assert_strict(train[:0], chosen)
    for split in ("valid", "test"):
        planted = np.vstack([train, np.stack(chosen.only(split), axis=1)[:1]])
        user = chosen.user_ids[planted[-1, 0]]
        with pytest.raises(
            DataError, match=f"user '{user}' with item row {planted[-1, 1]} is of the {split} "
        ):
            assert_strict(planted, chosen)
    nobody = next((u, i) for u in range(30) for i in range(40) if (u, i) not in SPLIT)
    with pytest.raises(DataError, match=r"is nobody's choice.*--leakage paper"):
        assert_strict(np.array([nobody]), chosen)


def test_a_test_item_in_a_history_is_a_leak_too():
    (e, *_) = conditions(DATA, "strict").episodes
    asked = next(t for t in DATA.episodes if t.user == e.user).reference
    assert_strict(pairs_of([e]), DATA.interactions)
    planted = Episode("x", e.user, e.source_user, (*e.history, asked), e.reference)
    with pytest.raises(DataError, match="of the test split"):
        assert_strict(pairs_of([planted]), DATA.interactions)


def test_a_planted_episode_stops_it(monkeypatch):
    module = "recsim_gen.experiments.auxiliary.conditions.training_episodes"
    monkeypatch.setattr(module, lambda dataset, least: dataset.episodes)
    conditions(DATA, "paper")
    with pytest.raises(DataError, match="pictures must be made from training pairs alone"):
        conditions(DATA, "strict")


def test_what_cannot_be_chosen_is_told():
    for wrong in ({"items": -1}, {"each": -1}):
        with pytest.raises(SettingError, match=r"must be 0 .all. or more"):
            conditions(DATA, "strict", **wrong)
    with pytest.raises(DataError, match=r"at least 2 items .* got 1. Raise --items"):
        conditions(DATA, "paper", items=1)


@pytest.mark.parametrize("leakage", ["strict", "paper"])
def test_short_histories_are_left_out(leakage):
    """RAGAR retrieves k items: a picture that cannot be drawn must not be asked for."""
    for least in (2, 6):
        found = conditions(DATA, leakage, each=0, least_history=least)
        assert min(len(e.history) for e in found.episodes) >= least
    with pytest.raises(SettingError, match="least_history must be 1 item or more, got 0"):
        conditions(DATA, leakage, least_history=0)


def test_policies_that_are_compared_replace_the_same_items():
    among = shared_items(DATA)
    strict, paper = (conditions(DATA, policy, each=0, among=among) for policy in ("strict", "paper"))
    assert strict.items.tolist() == paper.items.tolist()
    assert sorted(strict.items.tolist()) == among.tolist()
    tested = {e.reference for e in DATA.episodes}
    assert set(among.tolist()) == tested & set(conditions(DATA, "strict").items.tolist())
    assert 0 < len(among) < len(tested)


def test_rows_of_known_truth_are_added_where_tastes_are_known():
    shop = open_data("boutique", n_items=80, n_users=20)
    assert [m.label for m in with_known_truth([], shop)] == ["oracle", "sd"]
    named = with_known_truth(read_methods(["plain=sd"]), shop)
    assert [m.label for m in named] == ["plain", "oracle"]
    assert with_known_truth([], DATA) == []
