"""Splits: laws that hold for any table of choices."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.splits import by_ratio, by_time, by_user, leave_last_out

tables = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60).map(
    lambda rows: (np.array([u for u, _ in rows], dtype=int), np.array([t for _, t in rows], dtype=float))
)


def test_the_last_is_test_and_the_one_before_it_valid():
    user = np.array(["b", "a", "a", "b", "a", "b", "a"])
    time = np.array([9.0, 3, 1, 7, 2, 8, 4])
    expected = ["test", "valid", "train", "train", "train", "valid", "test"]
    assert leave_last_out(user, time).tolist() == expected


def test_equal_times_keep_the_order_of_the_rows():
    assert leave_last_out(np.zeros(4, int), np.zeros(4)).tolist() == ["train", "train", "valid", "test"]


@given(tables)
def test_leave_last_out_agrees_with_a_loop_over_users(table):
    user, time = table
    expected = np.full(len(user), "train", dtype="<U5")
    for u in np.unique(user):
        rows = sorted(np.flatnonzero(user == u), key=lambda r: time[r])  # sorted is stable
        if len(rows) >= 3:
            expected[rows[-1]], expected[rows[-2]] = "test", "valid"
    assert leave_last_out(user, time).tolist() == expected.tolist()


@given(tables, st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_by_ratio_gives_each_user_their_share(table, valid, test):
    user, _ = table
    split = by_ratio(user, Rng(3), valid=valid, test=test)
    for u in np.unique(user):
        mine = split[user == u]
        if len(mine) < 3:
            assert set(mine) == {"train"}
            continue
        assert abs((mine == "test").sum() - test * len(mine)) <= 1
        assert abs((mine == "valid").sum() - valid * len(mine)) <= 1
        assert (mine == "train").any()


def test_by_ratio_depends_on_the_seed_alone():
    user = np.repeat(np.arange(50), 20)
    assert (by_ratio(user, Rng(1)) == by_ratio(user, Rng(1))).all()
    assert (by_ratio(user, Rng(1)) != by_ratio(user, Rng(2))).any()


@given(tables)
def test_by_time_never_learns_from_the_future(table):
    _, time = table
    split = by_time(time, valid=0.2, test=0.2)
    eras = [time[split == s] for s in ("train", "valid", "test")]
    eras = [era for era in eras if len(era)]
    assert all(a.max() < b.min() for a, b in pairwise(eras))


def test_by_time_meets_the_shares():
    split = by_time(np.random.default_rng(0).permutation(1000), valid=0.1, test=0.2)
    assert [(split == s).sum() for s in ("train", "valid", "test")] == [700, 100, 200]


@pytest.mark.parametrize(("valid", "test"), [(0.0, 0.1), (0.5, 0.5), (-0.1, 0.2)])
def test_shares_out_of_range_are_refused(valid, test):
    with pytest.raises(SettingError, match=f"got {valid} and {test}"):
        by_time(np.arange(5), valid=valid, test=test)


@given(tables, st.integers(0, 3), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_by_user_lets_nobody_have_episodes_in_two_splits(table, people, valid, test):
    user, time = table
    person = np.char.add("p", (user % (people + 3)).astype(str))  # some people are two users
    rows = {u: (user == u).sum() for u in np.unique(user).tolist()}
    known = {f"p{u % (people + 3)}" for u, n in rows.items() if n >= 3}
    if len(known) < 3:
        with pytest.raises(SettingError, match="three people"):
            by_user(user, time, person, Rng(4), valid=valid, test=test)
        return
    split = by_user(user, time, person, Rng(4), valid=valid, test=test)
    tested, selected = set(person[split == "test"]), set(person[split == "valid"])
    assert tested
    assert selected
    assert known - tested - selected
    assert not tested & selected
    last = leave_last_out(user, time) == "test"
    assert ((split != "train") == (last & np.isin(person, [*tested, *selected]))).all()
    assert abs(len(tested) - test * len(known)) <= 1
