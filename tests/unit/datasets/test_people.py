"""Whose sequence a user is, and a dataset split by another rule: who has episodes where."""

from dataclasses import replace

import numpy as np
import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.checks import counts
from recsim_gen.datasets.files.caption_files import with_captions, write_captions
from recsim_gen.datasets.sequences import Choices, cut, whole
from recsim_gen.datasets.splits import resplit
from recsim_gen.datasets.unified.loader import load as load_unified
from recsim_gen.datasets.unified.writer import write_unified
from recsim_gen.datasets.writing import by_person
from recsim_gen.testing import worlds


@pytest.fixture(scope="module")
def dataset():
    """40 people with 7 to 26 choices each, cut into sequences of 6 with a tail."""
    draw = np.random.default_rng(0)
    counts = draw.integers(7, 27, size=40)
    person = np.repeat(np.arange(40), counts)
    item = np.concatenate([draw.permutation(60)[:n] for n in counts])
    time = draw.random(len(item))
    people = np.char.add("p", np.arange(40).astype(str))
    return of(cut(Choices(person, people, item, time, np.ones(len(item)), item), 60, length=6))


def of(made):
    """The dataset of these sequences."""
    catalog = worlds.catalog({}, made.interactions.n_items)
    return Dataset("world", catalog, made.interactions, made.episodes, {"text": "words"}, people=made.people)


def test_sequences_and_tails_are_of_the_person_who_was_cut(dataset):
    assert (dataset.people == np.char.partition(dataset.interactions.user_ids, "/")[:, 0]).all()
    assert len(np.unique(dataset.people)) == 40
    assert any(name.endswith("/tail") for name in dataset.interactions.user_ids)


@pytest.mark.parametrize("rule", ["leave-last-out", "by-ratio", "by-time", "by-user"])
def test_another_split_other_captions_and_fewer_episodes_change_no_person(dataset, rule, tmp_path):
    write_captions(tmp_path / "captions.csv", {"target": {"i3": "a red hat"}})
    for made in (
        resplit(dataset, rule, Rng(1)),
        with_captions(dataset, tmp_path / "captions.csv"),
        replace(dataset, episodes=dataset.episodes[:1]),
    ):
        assert made.people.tolist() == dataset.people.tolist()


def test_a_name_like_a_part_is_nobodys_part():
    """Two people who are called as parts of a third are people of their own, cut or whole."""
    names = np.array(["a", "a/1", "a/tail", "b/valid0"])
    person, item = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
    choices = Choices(person, names, item, item, np.ones(16), item)
    few = item < np.array([4, 2, 1, 3])[person]
    less = Choices(person[few], names, item[few], item[few], np.ones(few.sum()), item[few])
    assert of(whole(choices, 4)).people.tolist() == names.tolist()
    parts = of(cut(choices, 4, length=3))
    assert parts.people.tolist() == np.repeat(names, 2).tolist()
    assert len(parts.episodes) == 4
    short = of(whole(less, 4))
    assert len(short.episodes) == 2  # who chose once or twice is asked nothing, and stays a person
    assert counts(short)["people"] == 4
    order, people, left_out = by_person(short)
    assert (people == names[short.interactions.user[order]]).all()
    assert left_out == ()  # nobody chose an item twice


def test_a_name_like_a_part_can_be_another_users():
    """Uncut users may have any id: none is taken for another's sequence."""
    chosen = replace(worlds.interactions([[0, 1, 2], [2, 3, 4], [5, 0, 1]], 6), user_ids=["a", "a/0", "a/1"])
    assert Dataset("world", worlds.catalog({}, 6), chosen, (), {}).people.tolist() == ["a", "a/0", "a/1"]


def test_people_come_back_from_the_unified_layout(dataset, tmp_path):
    """With episodes and without: a tail comes back as what its person is only learned from."""
    write_unified(dataset, tmp_path / "data")
    data = load_unified(tmp_path / "data")
    sequences = {e.user for e in dataset.episodes}
    tails = [person for user, person in enumerate(dataset.people.tolist()) if user not in sequences]
    assert sorted(e.source_user for e in data.episodes) == sorted(e.source_user for e in dataset.episodes)
    tested = {e.user for e in data.episodes}
    left = [person for user, person in enumerate(data.people.tolist()) if user not in tested]
    assert sorted(left) == sorted(tails)
    write_unified(data, tmp_path / "again")
    assert load_unified(tmp_path / "again").people.tolist() == data.people.tolist()


@pytest.mark.parametrize("rule", ["leave-last-out", "by-ratio", "by-time", "by-user"])
def test_a_reference_is_in_no_history_of_the_same_person(dataset, rule):
    made = resplit(dataset, rule, Rng(1))
    assert len(made.episodes) > 0
    histories = {}
    for episode in made.episodes:
        histories.setdefault(episode.source_user, set()).update(episode.history)
    for episode in made.episodes:
        assert episode.reference not in histories[episode.source_user]
    assert f"split {rule}: {len(made.episodes):,} episodes" in made.notes
    assert made.interactions.item.tolist() == dataset.interactions.item.tolist()


def test_by_user_nobody_is_learned_from_as_a_test_and_tested(dataset):
    made = resplit(dataset, "by-user", Rng(1), valid=0.2, test=0.2)
    chosen, people = made.interactions, dataset.people[made.interactions.user]
    tested, selected = set(people[chosen.split == "test"]), set(people[chosen.split == "valid"])
    assert len(tested) == len(selected) == 8
    assert not tested & selected
    assert {e.source_user for e in made.episodes} == tested
    assert resplit(dataset, "by-user", Rng(2)).fingerprint != resplit(dataset, "by-user", Rng(1)).fingerprint


def test_leave_last_out_again_changes_the_tails_alone(dataset):
    made = resplit(dataset, "leave-last-out", Rng(0))
    old = [(e.user, e.history, e.reference) for e in dataset.episodes]
    tails = {u for u, name in enumerate(dataset.interactions.user_ids) if name.endswith("tail")}
    assert [(e.user, e.history, e.reference) for e in made.episodes if e.user not in tails] == old


def test_an_unknown_rule(dataset):
    with pytest.raises(SettingError, match="Did you mean 'by-user'"):
        resplit(dataset, "by-person", Rng(0))
