"""LATTICE: against dense matrices, its shares of the modalities, and images that are substituted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rankers.lattice import LATTICERanker
from rankers.micro import MICRORanker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog
from recsim_gen.testing import worlds

CATALOG, CHOSEN = worlds.pictures_only()
USERS = np.arange(CHOSEN.n_users)
ITEMS = len(CATALOG)


def trained(kind=LATTICERanker, catalog: Catalog = CATALOG, **settings):
    settings = {"epochs": 5, "learning_rate": 0.01, "train_batch_size": 128, "embedding_size": 16, **settings}
    return kind(**settings).fit(catalog, CHOSEN, rng=Rng(0))


@pytest.fixture(scope="module")
def ranker() -> LATTICERanker:
    return trained()


def dense_graph(x: np.ndarray, k: int) -> np.ndarray:
    """With N×N matrices: cosines, the top k of each row, from 0 up; D^−½·S·D^−½."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = x @ x.T
    keep = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    sparse = np.zeros_like(cosine)
    np.put_along_axis(sparse, keep, np.maximum(np.take_along_axis(cosine, keep, 1), 0), 1)
    root = sparse.sum(1) ** -0.5
    return root[:, None] * sparse * root[None]


def dense_scores(ranker: LATTICERanker) -> np.ndarray:
    """All scores from the weights alone."""
    w = {k: v.double().numpy() for k, v in ranker.model.state_dict().items()}
    c = ranker.config
    share = np.exp(w["modality_weight"]) / np.exp(w["modality_weight"]).sum()
    graph = np.zeros((ITEMS, ITEMS))
    for alpha, (m, x) in zip(share, CATALOG.features.items(), strict=True):
        weight, bias = (w[f"modalities.{m}.projection.{part}"] for part in ("weight", "bias"))
        learned, raw = dense_graph(x @ weight.T + bias, c.knn_k), dense_graph(x.astype(float), c.knn_k)
        graph += alpha * ((1 - c.frozen_weight) * learned + c.frozen_weight * raw)
    user, item = w["user_embedding.weight"], w["item_embedding.weight"]
    h = np.linalg.matrix_power(graph, c.n_item_layers) @ item
    chosen = np.zeros((len(USERS), ITEMS))
    chosen[CHOSEN.only("train")] = 1
    both = np.block([[np.zeros((len(USERS),) * 2), chosen], [chosen.T, np.zeros((ITEMS,) * 2)]])
    root = np.maximum(both.sum(1), 1) ** -0.5
    layers = [np.concatenate([user, item])]
    for _ in range(c.n_layers):
        layers.append((root[:, None] * both * root[None]) @ layers[-1])
    users, items = np.split(np.mean(layers, axis=0), [len(USERS)])
    return users @ (items + h / np.linalg.norm(h, axis=1, keepdims=True)).T


@pytest.mark.parametrize("settings", [{}, {"n_item_layers": 2}, {"frozen_weight": 0.2, "n_layers": 1}])
def test_scores_are_the_formula_with_dense_matrices(settings):
    fitted = trained(**settings)
    assert float(np.ptp([s.item() for s in fitted.model.shares().values()])) > 1e-4  # the shares differ
    np.testing.assert_allclose(fitted.score(USERS).numpy(), dense_scores(fitted), atol=1e-5)


def test_one_modality_alone_is_micro():
    """Nothing is to be fused and nothing contrasted: the same model, so training is the same."""
    catalog = worlds.catalog({"image": CATALOG.features["image"]})
    lattice, micro = (trained(kind, catalog) for kind in (LATTICERanker, MICRORanker))
    torch.testing.assert_close(lattice.score(USERS), micro.score(USERS), rtol=1e-4, atol=1e-5)


def test_shares_start_equal_are_learned_and_sum_to_one(ranker):
    start = trained(epochs=1, learning_rate=1e-12).model.shares()
    assert [s.item() for s in start.values()] == pytest.approx([0.5, 0.5])
    shares = [s.item() for s in ranker.model.shares().values()]
    assert sum(shares) == pytest.approx(1)
    assert shares != pytest.approx([0.5, 0.5], abs=1e-3)


def test_the_projections_learn():
    """The learned graphs' weights carry a gradient whenever they are rebuilt."""
    settings = {"frozen_weight": 0.5, "rebuild_every": 1}
    before, after = (trained(epochs=e, **settings).model.state_dict() for e in (1, 3))
    for m in ("image", "text"):
        name = f"modalities.{m}.projection.weight"
        assert (before[name] - after[name]).abs().max() > 1e-3


def test_substitution_is_a_rebuild_and_the_own_picture_changes_nothing(ranker):
    draw = np.random.default_rng(0)
    users, items, other = draw.integers(len(USERS), size=20), *draw.integers(ITEMS, size=(2, 20))
    x = {"image": CATALOG.features["image"][other] + draw.normal(size=(20, 10))}
    answer, reference = ranker.substitute(users, items, x), ranker.rebuild(users, items, x)
    np.testing.assert_allclose(answer.score, reference.score, atol=1e-9)
    np.testing.assert_array_equal(answer.rank, reference.rank)
    assert (answer.touched > 1).any()
    np.testing.assert_allclose(answer.original_score, ranker.score(users)[np.arange(20), items], atol=1e-5)
    own = ranker.substitute(users, items, {m: f[items] for m, f in CATALOG.features.items()})
    np.testing.assert_array_equal(own.rank, own.original_rank)
