"""Shops of few items, and people who have chosen all of them: trained as any other, or refused in words."""

import numpy as np
import pytest

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.types import Catalog, Interactions


def shop(n_items, lists, learned=()):
    """A catalogue without features; of each person the last choice is test and the one before it valid.

    Of those who are ``learned`` from alone, the last choice is valid and the others train.
    """
    user = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    ends = [["train", "valid"] if u in learned else ["valid", "test"] for u in range(len(lists))]
    split = np.concatenate(
        [["train"] * (len(items) - 2) + end for items, end in zip(lists, ends, strict=True)]
    )
    ids, people = np.arange(n_items).astype(str), np.arange(len(lists)).astype(str)
    item = np.concatenate(lists)
    ones = np.ones(len(user))
    interactions = Interactions(user, item, np.arange(len(user)), ones, split, people, n_items)
    return Catalog(ids, ids, ids, np.full(n_items, "a"), None), interactions


def fitted(name, catalog, interactions, **settings):
    ranker = make_ranker(RankerSpec(name, {"epochs": 3, **settings}))
    return ranker.fit(catalog, interactions, rng=Rng(0))


@pytest.mark.parametrize("name", ["bpr", "lightgcn"])
@pytest.mark.parametrize("n_items", [5, 8, 19, 20])
def test_fewer_items_than_a_list_is_long(name, n_items):
    lists = [(np.arange(4) + u) % n_items for u in range(6)]
    ranker = fitted(name, *shop(n_items, lists))
    assert ranker.score(np.arange(6)).shape == (6, n_items)
    assert 0 <= ranker.valid["recall@10"] <= ranker.valid["recall@20"] <= 1


@pytest.mark.parametrize("sampling", ["interaction", "user"])
@pytest.mark.parametrize("learned", [(), (0,)])
def test_somebody_who_chose_every_item_breaks_nothing(sampling, learned):
    lists = [np.arange(25), *((np.arange(8) + 3 * u) % 25 for u in range(5))]
    ranker = fitted("bpr", *shop(25, lists, learned), sampling=sampling)
    assert np.isfinite(ranker.score(np.arange(6)).numpy()).all()


def test_where_everybody_chose_everything_it_says_so():
    with pytest.raises(DataError, match="users who have not chosen every item are wanted, got none"):
        fitted("bpr", *shop(6, [np.arange(6)] * 3, learned=(0, 1, 2)))
