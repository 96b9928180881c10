"""A dataset split by another rule: who has episodes where, and what a reference may not be."""

from dataclasses import replace

import numpy as np
import pytest
import worlds

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.episodes import people_of
from recsim_gen.datasets.sequences import Choices, cut
from recsim_gen.datasets.splits import resplit


@pytest.fixture(scope="module")
def dataset():
    """40 people with 7 to 26 choices each, cut into sequences of 6 with a tail."""
    draw = np.random.default_rng(0)
    counts = draw.integers(7, 27, size=40)
    person = np.repeat(np.arange(40), counts)
    item = np.concatenate([draw.permutation(60)[:n] for n in counts])
    time = draw.random(len(item))
    people = np.char.add("p", np.arange(40).astype(str))
    made = cut(Choices(person, people, item, time, np.ones(len(item)), item), 60, length=6)
    return Dataset("world", worlds.catalog({}, 60), made.interactions, made.episodes, {"text": "words"})


def test_people_of_sequences_and_tails(dataset):
    people = people_of(dataset)
    names = dataset.interactions.user_ids
    assert (people == np.char.partition(names, "/")[:, 0]).all()
    bare = replace(dataset, episodes=())
    assert (people_of(bare) == people).all()
    stranger = replace(dataset.interactions, user_ids=np.char.replace(names, "/", "/x"))
    alone = people_of(replace(dataset, interactions=stranger, episodes=dataset.episodes[:1]))
    assert alone[1:].tolist() == stranger.user_ids[1:].tolist()


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
    chosen, people = made.interactions, people_of(dataset)[made.interactions.user]
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
