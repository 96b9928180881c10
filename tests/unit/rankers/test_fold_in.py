"""New users: the law that a known user without an ID embedding is what fold-in makes of the history."""

import numpy as np
import pytest
import torch

from rankers.fold_in import history_matrix, propagate
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

HISTORIES = [np.array([4, 0]), [2], (3, 1, 4)]


def test_the_history_matrix_has_a_one_for_each_item():
    wanted = torch.zeros(3, 6)
    for row, history in enumerate(HISTORIES):
        wanted[row, list(history)] = 1
    assert torch.equal(history_matrix(HISTORIES, 6, torch.device("cpu")).to_dense(), wanted)


def test_propagation_equals_the_formulas_written_out():
    e = [torch.randn(6, 3, generator=Rng(s).torch()) for s in range(3)]
    degree = torch.tensor([3, 1, 0, 2, 5, 9])
    symmetric = propagate(HISTORIES, e, degree, "symmetric")
    looped = propagate(HISTORIES, e, degree, "row-self-loop")
    for row, history in enumerate(HISTORIES):
        size, items = len(history), list(history)
        parts = [sum(layer[i] / (size * max(1, int(degree[i]))) ** 0.5 for i in items) for layer in e[:-1]]
        assert torch.allclose(symmetric[row], sum(parts) / 3, atol=1e-6)
        u = [torch.zeros(3)]
        for layer in e[:-1]:
            u.append((u[-1] + layer[items].sum(0)) / (size + 1))
        assert torch.allclose(looped[row], sum(u) / 3, atol=1e-6)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("spec", ["lightgcn", "micro", "micro:published-code"])
def test_a_known_user_whose_embedding_is_zero_is_folded_in_alike(spec):
    catalog, chosen = worlds.noise()
    ranker = make_ranker(RankerSpec(spec, {"epochs": 2, "embedding_size": 8, "train_batch_size": 64}))
    ranker.fit(catalog, chosen, rng=Rng(0))
    user = 7
    weight = ranker.model.user_embedding.weight
    with torch.no_grad():
        weight[user] = 0
    ranker.model.train()  # forget what was computed with the old weights
    ranker.model.eval()
    history = chosen.item[(chosen.user == user) & (chosen.split == "train")]
    wanted = ranker.score(np.array([user]))
    assert torch.allclose(ranker.fold_in([history]), wanted, atol=1e-6)
    assert not torch.allclose(ranker.fold_in([history[:-1]]), wanted, atol=1e-4)


@pytest.mark.usefixtures("apart")
def test_in_bpr_a_new_user_is_the_mean_of_the_items():
    ranker = make_ranker(RankerSpec("bpr", {"epochs": 1, "embedding_size": 8})).fit(
        *worlds.noise(), rng=Rng(0)
    )
    items = ranker.model.item_embedding.weight.detach()
    for history, scores in zip(HISTORIES, ranker.fold_in(HISTORIES), strict=True):
        assert torch.allclose(scores, items[list(history)].mean(0) @ items.T, atol=1e-6)
