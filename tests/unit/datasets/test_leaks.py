"""Answers in the question: each kind is found where it was put, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from real_data import REAL

from recsim_gen.core.types import Dataset
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.images import open_images
from recsim_gen.datasets.leaks import Leaks, duplicates, find_leaks, holds_target
from recsim_gen.datasets.movielens import load
from recsim_gen.testing import worlds


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def dataset(choices, people):
    chosen, people = worlds.interactions(choices, 12), np.array(people)
    return Dataset("w", worlds.catalog({}, 12), chosen, test_episodes(chosen, people), {}, people=people)


def test_a_target_inside_its_own_history_is_marked():
    record = np.array([0, 0, 0, 1, 1, 2])
    item = np.array([5, 7, 5, 5, 8, 9])
    assert holds_target(record, item, np.array([5, 8, -1])).tolist() == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_test_choice_that_the_person_made_as_another_user():
    apart = dataset([[0, 1, 2], [3, 4, 5], [2, 6, 7]], ["a", "a", "b"])
    assert find_leaks(apart) == Leaks(known=0, same_picture=0, shared_people=2)
    assert find_leaks(apart).sentences() == ()
    same = dataset([[0, 1, 2], [3, 4, 5], [2, 6, 7]], ["a", "b", "a"])
    assert find_leaks(same).known == 1
    assert find_leaks(same).sentences() == ("1 test choices that the same person made outside the test too",)


def test_the_picture_of_the_reference_in_the_history(tmp_path):
    for i in range(11):
        Image.new("RGB", (4, 4), (0 if i in (2, 9, 4) else i, 0, 5 * (i == 4))).save(tmp_path / f"i{i}.png")
    data = dataset([[9, 1, 2], [2, 9, 5], [4, 0, 2], [2, 10, 11]], ["a", "b", "c", "d"])
    images = open_images(tmp_path, data.catalog.item_ids)
    assert images.present.tolist() == [True] * 11 + [False]
    data = replace(data, catalog=replace(data.catalog, images=images))
    groups = [group.tolist() for group in duplicates(images, 12)]
    assert groups == [[0, 2, 9]]
    assert find_leaks(data).same_picture == 2  # 9 for 2; 0 for 2
    assert "2 episodes with a picture of the reference in the history" in find_leaks(data).sentences()


@pytest.mark.real
def test_the_four_groups_of_equal_posters_of_movielens():
    folder = REAL / "movielens"
    if not folder.is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    data = load(folder)
    assert len(duplicates(data.catalog.images, len(data.catalog))) == 4
    assert find_leaks(data).known == 0
