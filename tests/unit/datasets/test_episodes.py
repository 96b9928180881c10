"""Episodes: who is asked, what they are known by; what is learned from."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Catalog, Dataset, Interactions
from recsim_gen.datasets.episodes import test_episodes as episodes_of
from recsim_gen.datasets.episodes import training_episodes


def make(rows, user_ids):
    user, item, time, split = zip(*rows, strict=True)
    return Interactions(user, item, time, np.ones(len(rows)), split, user_ids, n_items=10)


def test_a_history_is_what_came_before_oldest_first():
    chosen = make(
        [
            (1, 3, 5.0, "valid"),
            (0, 1, 2.0, "train"),
            (1, 4, 1.0, "train"),
            (1, 7, 9.0, "test"),
            (0, 0, 1.0, "train"),
            (1, 2, 1.0, "train"),
        ],
        ["a", "b"],
    )
    (episode,) = episodes_of(chosen, np.array(["Ann", "Bob"]))
    assert (episode.id, episode.user, episode.source_user) == ("b#0", 1, "Bob")
    assert episode.history == (4, 2, 3)  # equal times keep the order of the rows
    assert episode.reference == 7


def test_each_test_row_is_an_episode_and_a_stranger_is_none():
    rows = [(0, 5, 4.0, "test"), (0, 1, 1.0, "train"), (0, 2, 3.0, "test"), (1, 9, 1.0, "test")]
    found = episodes_of(make(rows, ["a", "b"]), np.array(["a", "b"]))
    assert [(e.id, e.history, e.reference) for e in found] == [("a#0", (1,), 2), ("a#1", (1,), 5)]


def test_the_order_of_the_rows_does_not_matter():
    draw = np.random.default_rng(0)
    rows = [
        (u, i, float(t), s)
        for u in range(6)
        for t, (i, s) in enumerate(
            zip(draw.permutation(10)[:5].tolist(), ["train"] * 3 + ["valid", "test"], strict=True)
        )
    ]
    names = [f"u{k}" for k in range(6)]
    shuffled = [rows[k] for k in draw.permutation(len(rows))]
    assert episodes_of(make(rows, names), np.array(names)) == episodes_of(
        make(shuffled, names), np.array(names)
    )


def test_a_name_is_wanted_for_each_user():
    chosen = make([(0, 1, 1.0, "train")], ["a", "b"])
    with pytest.raises(DataError, match=r"source_users must be \(2,\), one a user, got \(1,\)"):
        episodes_of(chosen, np.array(["a"]))


def dataset_of(interactions):
    n = interactions.n_items
    names = [f"i{k}" for k in range(n)]
    catalog = Catalog(names, names, names, names)
    people = np.array([u.split("/")[0] for u in interactions.user_ids.tolist()])
    return Dataset("w", catalog, interactions, episodes_of(interactions, people), {}, people=people)


def random_choices(seed):
    draw = np.random.default_rng(seed)
    rows = []
    for u in range(5):
        items = draw.permutation(30)[: draw.integers(3, 20)].tolist()
        splits = draw.choice(["train", "train", "train", "valid", "test"], len(items)).tolist()
        rows += [(u, i, float(draw.integers(8)), s) for i, s in zip(items, splits, strict=True)]
    user, item, time, split = zip(*rows, strict=True)
    return Interactions(
        user, item, time, np.ones(len(rows)), split, [f"p{u}/{u}" for u in range(5)], n_items=30
    )


@pytest.mark.parametrize("seed", range(5))
def test_training_sees_no_valid_and_no_test_choice(seed):
    chosen = random_choices(seed)
    train = set(zip(*(x.tolist() for x in chosen.only("train")), strict=True))
    found = training_episodes(dataset_of(chosen))
    assert found
    for e in found:
        assert {(e.user, item) for item in (*e.history, e.reference)} <= train
        assert e.source_user == f"p{e.user}"


@pytest.mark.parametrize(("least", "longest"), [(1, 1), (2, 20), (3, 4)])
def test_each_training_choice_follows_what_came_before(least, longest):
    """By hand: the choices of a user in order of time, cut before each one."""
    chosen = random_choices(7)
    wanted = []
    for u in range(5):
        rows = [k for k in range(len(chosen)) if chosen.user[k] == u and chosen.split[k] == "train"]
        items = [int(chosen.item[k]) for k in sorted(rows, key=lambda k: chosen.time[k])]
        wanted += [
            (f"p{u}/{u}#train{k}", u, tuple(items[max(0, k - longest) : k]), items[k])
            for k in range(least, len(items))
        ]
    found = training_episodes(dataset_of(chosen), least=least, longest=longest)
    assert [(e.id, e.user, e.history, e.reference) for e in found] == wanted


def test_nobody_to_learn_from_is_told():
    dataset = dataset_of(make([(0, 1, 1.0, "train"), (0, 2, 2.0, "train"), (0, 3, 3.0, "test")], ["a"]))
    with pytest.raises(DataError, match="more than 2 training choices are wanted, w has none"):
        training_episodes(dataset)
    for wrong in ({"least": 0}, {"least": 5, "longest": 4}):
        with pytest.raises(SettingError, match="least must be 1 or more"):
            training_episodes(dataset, **wrong)
