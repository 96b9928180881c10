"""Thin data are told, with what helps; where there is enough nothing is."""

from dataclasses import replace

import numpy as np

from recsim_gen.artifacts.trained_rankers import few_steps
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.splits import leave_last_out
from recsim_gen.datasets.thin import thin_spots
from recsim_gen.testing import worlds


def shop(people, each, n_items, seed=0):
    """Everybody chose ``each`` of the items at random; the last of each is test."""
    rng = np.random.default_rng(seed)
    chosen = worlds.interactions([rng.permutation(n_items)[:each].tolist() for _ in range(people)], n_items)
    chosen = chosen.with_split(leave_last_out(chosen.user, chosen.time))
    ids = chosen.user_ids
    return Dataset("shop", worlds.catalog({}, n_items), chosen, test_episodes(chosen, ids), {}, people=ids)


def test_few_test_choices_are_offered_a_split_that_tests_more():
    (said,) = thin_spots(shop(people=100, each=20, n_items=60))
    assert said == (
        "100 test choices are few: a Recall of 0.1 is known to ± 0.06 at best; "
        "--data-settings.split by-ratio --data-settings.test_share 0.2 tests 400 of 2,000"
    )


def test_where_no_split_tests_many_more_none_is_offered():
    (said,) = thin_spots(shop(people=100, each=5, n_items=12))
    assert said == "100 test choices are few: a Recall of 0.1 is known to ± 0.06 at best"


def test_items_that_training_hardly_knows_are_counted():
    data = shop(people=600, each=4, n_items=4000)
    chosen = data.interactions
    times = np.bincount(chosen.item[chosen.split == "train"], minlength=4000)
    share = np.mean([times[item] <= 1 for item in chosen.item[chosen.split == "test"]])
    assert share > 0.5
    (said,) = thin_spots(data)
    assert said.startswith(f"{share:.0%} of test choices are of items that were chosen once or never")


def test_enough_is_not_remarked():
    assert thin_spots(shop(people=600, each=20, n_items=60)) == ()


def test_data_without_test_choices_are_not_thin_but_unusable():
    data = shop(people=5, each=6, n_items=9)
    nobody = data.interactions.with_split(np.full(len(data.interactions), "train"))
    assert thin_spots(replace(data, interactions=nobody)) == ()


def test_epochs_that_are_few_steps_are_told():
    data = shop(people=100, each=52, n_items=60)  # 5,000 to learn from
    given = [RankerSpec("micro", {"epochs": 30}), RankerSpec("popularity"), RankerSpec("bpr")]
    (said,) = few_steps(given, data.interactions)
    assert said == (
        "micro: 30 epochs are 60 steps here (5,000 training choices, 4,096 a step): give more epochs, or a "
        "smaller train_batch_size"
    )
    assert few_steps([RankerSpec("micro", {"epochs": 30, "train_batch_size": 64})], data.interactions) == []
