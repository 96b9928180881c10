"""Ranks and ranking metrics against brute force, RecBole's evaluator and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.ranking import ndcg_at, per_user, ranks, recall_at


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 4))
def test_ranks_are_average_ranks_among_the_eligible(seed, n, levels):
    draw = np.random.default_rng(seed)
    scores = draw.integers(levels, size=(5, n)).astype(np.float32)
    masked, item = draw.random((5, n)) < 0.4, draw.integers(n, size=5)
    found = ranks(*map(torch.from_numpy, (scores, item, masked)))
    for row in range(5):
        eligible = ~masked[row]
        eligible[item[row]] = True
        wanted = rankdata(-scores[row][eligible])[eligible[: item[row] + 1].sum() - 1]
        assert found[row] == wanted


def test_an_item_is_not_compared_with_itself():
    """The identity law's ground: neither own score nor own mask moves the own rank."""
    scores = torch.randn(6, 9, generator=Rng(0).torch())
    item, masked = torch.arange(6), torch.zeros(6, 9, dtype=torch.bool)
    rank = ranks(scores, item, masked)
    masked[torch.arange(6), item] = True
    assert torch.equal(ranks(scores, item, masked), rank)
    assert masked[torch.arange(6), item].all()  # the caller's mask is as it was
    assert torch.equal(rank, 1 + (scores > scores.diagonal()[:, None]).sum(1).double())
    assert rank.dtype == torch.float64


def test_masked_infinite_and_missing_scores():
    scores = torch.tensor([[3.0, 2.0, -torch.inf, 1.0]])
    mask = torch.tensor([[True, False, False, False]])
    assert ranks(scores, torch.tensor([3]), mask) == 2
    assert ranks(scores, torch.tensor([3]), torch.ones(1, 4, dtype=torch.bool)) == 1
    scores[0, 1] = torch.nan
    with pytest.raises(DataError, match="scores must be numbers, got NaN"):
        ranks(scores, torch.tensor([3]), mask)


def test_of_a_single_relevant_item():
    rank = np.array([1, 2.5, 10, 10.5, 11])
    assert recall_at(rank, 10).tolist() == [1, 1, 1, 0, 0]
    assert np.allclose(ndcg_at(rank, 10), [1, 1 / np.log2(3.5), 1 / np.log2(11), 0, 0])


def lists(seed: int = 0, users: int = 200, n: int = 50):
    """Scores without ties (B, n) and relevance (B, n) with 1 to 15 relevant items a user."""
    draw = np.random.default_rng(seed)
    scores = draw.permuted(np.broadcast_to(np.arange(n, dtype=float), (users, n)), axis=1)
    relevant = draw.permuted(np.arange(n) < draw.integers(1, 16, size=(users, 1)), axis=1)
    return scores, relevant


@pytest.mark.recbole
def test_recall_and_ndcg_are_those_of_recbole(monkeypatch):
    from recbole.evaluator import metrics as recbole_metrics

    monkeypatch.setattr(np, "float", float, raising=False)  # RecBole's NDCG asks for the removed name
    scores, relevant = lists()
    hits = np.take_along_axis(relevant, np.argsort(-scores, axis=1)[:, :20], 1)
    ours = per_user(hits, relevant.sum(1), [1, 5, 10, 20])
    config = {"topk": [1, 5, 10, 20], "metric_decimal_place": 12}
    for name in ("Recall", "NDCG"):
        metric = getattr(recbole_metrics, name)(config)
        theirs = metric.metric_info(hits, relevant.sum(1))
        for k in config["topk"]:
            assert np.allclose(ours[f"{name.lower()}@{k}"], theirs[:, k - 1], atol=1e-12)


@pytest.mark.parametrize("k", [1, 10, 50])
def test_ndcg_is_that_of_scikit_learn(k):
    scores, relevant = lists(1)
    hits = np.take_along_axis(relevant, np.argsort(-scores, axis=1), 1)
    ours = per_user(hits, relevant.sum(1), [k])[f"ndcg@{k}"]
    assert ours.mean() == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-12)


def test_the_published_variant_inflates():
    scores, relevant = lists(2)
    hits = np.take_along_axis(relevant, np.argsort(-scores, axis=1)[:, :20], 1)
    found = per_user(hits, relevant.sum(1), [5, 20])
    for k in (5, 20):
        assert (found[f"ndcg_retrieved@{k}"] >= found[f"ndcg@{k}"] - 1e-12).all()
        assert found[f"ndcg_retrieved@{k}"].mean() > found[f"ndcg@{k}"].mean() + 0.05
        assert max(v.max() for v in found.values()) <= 1 + 1e-12
    by_hand = per_user(np.array([[False, True, False]]), np.array([3]), [3])
    assert by_hand["ndcg_retrieved@3"][0] == pytest.approx(1 / np.log2(3))
    assert by_hand["ndcg@3"][0] == pytest.approx(1 / np.log2(3) / (1 + 1 / np.log2(3) + 0.5))
    assert per_user(np.array([[False]]), np.array([1]), [1])["ndcg_retrieved@1"][0] == 0


def test_both_ways_agree_where_one_item_is_relevant():
    scores = np.random.default_rng(3).standard_normal((100, 30))
    item = np.arange(100) % 30
    rank = ranks(torch.from_numpy(scores), torch.from_numpy(item), torch.zeros(100, 30, dtype=torch.bool))
    hits = np.argsort(-scores, axis=1)[:, :10] == item[:, None]
    found = per_user(hits, np.ones(100, dtype=int), [10])
    assert np.array_equal(found["recall@10"], recall_at(rank.numpy(), 10))
    assert np.allclose(found["ndcg@10"], ndcg_at(rank.numpy(), 10))


def test_a_user_without_a_relevant_item_is_told():
    with pytest.raises(DataError, match="must have a relevant item"):
        per_user(np.zeros((2, 3), dtype=bool), np.array([1, 0]), [3])
