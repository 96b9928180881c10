"""Evaluation of a split: who is scored, what is masked, independent of the block."""

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.metrics import evaluation
from recsim_gen.metrics.evaluation import evaluate, mask_of
from recsim_gen.testing import worlds


class Table:
    """A ranker whose scores are given."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = torch.from_numpy(scores)

    def score(self, users: np.ndarray) -> torch.Tensor:
        return self.scores[torch.from_numpy(users)].clone()


CATALOG, CHOSEN = worlds.noise()
SCORES = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)


def test_equals_one_user_at_a_time_by_hand():
    found = evaluate(Table(SCORES), CHOSEN, ks=[10]).set_index("user")
    assert found.index.tolist() == list(range(30))
    for user in range(30):
        mine = CHOSEN.user == user
        seen = CHOSEN.item[mine & (CHOSEN.split != "test")]
        (asked,) = CHOSEN.item[mine & (CHOSEN.split == "test")]
        order = [i for i in np.argsort(-SCORES[user]) if i not in seen]
        place = order.index(asked) + 1
        assert found.loc[user, "recall@10"] == (place <= 10)
        assert found.loc[user, "ndcg@10"] == pytest.approx(1 / np.log2(place + 1) if place <= 10 else 0)


def test_a_perfect_ranker_finds_all_and_masking_decides_it():
    truth = np.zeros((30, 40), dtype=np.float32)
    truth[CHOSEN.user, CHOSEN.item] = np.where(CHOSEN.split == "test", 1, 2)
    whole = evaluate(Table(truth), CHOSEN, ks=[1])
    assert (whole["recall@1"] == 1).all()
    assert (whole["ndcg@1"] == 1).all()
    train_only = evaluate(Table(truth), CHOSEN, ks=[1], masked=["train"])
    assert (train_only["recall@1"] == 0).all()  # the valid item stands first
    assert (evaluate(Table(truth), CHOSEN, ks=[2], masked=["train"])["recall@2"] == 1).all()
    assert (evaluate(Table(truth), CHOSEN, split="valid", ks=[1])["recall@1"] == 1).all()


def test_the_block_does_not_matter(monkeypatch):
    whole = evaluate(Table(SCORES), CHOSEN)
    for held in (1, 7 * 40):
        monkeypatch.setattr(evaluation, "SCORES_HELD", held)
        assert evaluate(Table(SCORES), CHOSEN).equals(whole)
    assert list(whole.columns) == ["user"] + [
        f"{m}@{k}" for k in (10, 20) for m in ("recall", "ndcg", "ndcg_retrieved")
    ]


def test_more_places_than_items():
    found = evaluate(Table(SCORES), CHOSEN, ks=[10, 500])
    assert (found["recall@500"] == 1).all()


def test_mask_of_takes_the_given_users_alone():
    mask = mask_of(np.array([5, 2]), np.array([2, 3, 5, 5]), np.array([0, 1, 2, 3]), 4)
    assert mask.tolist() == [[False, False, True, True], [True, False, False, False]]


def test_what_cannot_be_evaluated_is_told():
    with pytest.raises(SettingError, match=r"unknown split 'vaild'. Did you mean 'valid'"):
        evaluate(Table(SCORES), CHOSEN, masked=["train", "vaild"])
    with pytest.raises(SettingError, match="unknown split 'tset'"):
        evaluate(Table(SCORES), CHOSEN, split="tset")
    with pytest.raises(DataError, match="the test split must have interactions"):
        evaluate(Table(SCORES), CHOSEN.with_split(np.full(len(CHOSEN), "train")))
    broken = SCORES.copy()
    broken[3, 3] = np.nan
    with pytest.raises(DataError, match="scores must be numbers, got NaN"):
        evaluate(Table(broken), CHOSEN)
