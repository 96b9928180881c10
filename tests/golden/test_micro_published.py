"""MICRO with the recipe ``published-code`` against dense algebra written from its description.

The reference below holds every N×N matrix, uses float64 and shares no line with the library.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rankers import contrastive
from rankers.micro import MICRO
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.training_loop import seeded
from recsim_gen.testing import worlds

USERS, ITEMS, D, K = 18, 32, 16, 20  # so many neighbours that some cosines are negative
CATALOG, CHOSEN = worlds.noise(USERS, ITEMS, seed=3)


def built(recipe: str, **settings):
    """An untrained model whose trainable raw features have moved, as in training they do."""
    config = make_ranker(RankerSpec(f"micro:{recipe}", {"embedding_size": D, "knn_k": K, **settings})).config
    with seeded(Rng(1)):
        model = MICRO(config, TrainingData.of(CHOSEN, CATALOG.features, "cpu"))
    for name, parameter in model.named_parameters():
        if name.endswith(".raw"):
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=Rng(2).for_(name).torch())
    return model


def dense_graph(x: torch.Tensor, keep_negative: bool) -> torch.Tensor:
    x = x.double()
    x = x / x.norm(dim=1, keepdim=True)
    similarity = x @ x.T
    nearest = similarity.argsort(dim=1, descending=True)[:, :K]
    kept = torch.zeros_like(similarity).scatter(1, nearest, similarity.gather(1, nearest))
    if not keep_negative:
        kept = kept.clamp_min(0)
    root = kept.sum(1).rsqrt()
    return root[:, None] * kept * root


def dense_forward(model: MICRO, *, item_layers: int = 1, published: bool = True):
    """Final users, final items, views and fusion, from the weights alone."""
    w = {name: x.double() for name, x in model.state_dict().items()}
    adjacency = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    user, item = (torch.from_numpy(a) for a in CHOSEN.only("train"))
    adjacency[user, USERS + item] = adjacency[USERS + item, user] = 1
    if published:
        adjacency += torch.eye(len(adjacency))
        adjacency /= adjacency.sum(1, keepdim=True)
    else:
        root = adjacency.sum(1).clamp_min(1).rsqrt()
        adjacency = root[:, None] * adjacency * root
    ids = torch.cat([w["user_embedding.weight"], w["item_embedding.weight"]])
    layers = [ids, adjacency @ ids, adjacency @ adjacency @ ids]
    users, items = torch.stack(layers).mean(0).split([USERS, ITEMS])
    views = {}
    for m, x in CATALOG.features.items():
        first = torch.from_numpy(np.array(x)).double()
        raw = w[f"modalities.{m}.raw"] if published else first
        projected = raw @ w[f"modalities.{m}.projection.weight"].T + w[f"modalities.{m}.projection.bias"]
        graph = 0.1 * dense_graph(projected, published) + 0.9 * dense_graph(first, published)
        views[m] = torch.linalg.matrix_power(graph, item_layers) @ w["item_embedding.weight"]
    stacked = torch.stack([*views.values()])
    attention = torch.tanh(stacked @ w["query.0.weight"].T + w["query.0.bias"]) @ w["query.2.weight"].T
    fused = (attention.softmax(0) * stacked).sum(0)  # over modalities, not over items
    return users, items + fused / fused.norm(dim=1, keepdim=True), views, fused


def dense_contrastive(view: torch.Tensor, fused: torch.Tensor, temperature: float) -> torch.Tensor:
    between, within = (view @ fused.T / temperature).exp(), (view @ view.T / temperature).exp()
    return -(between.diag() / (between.sum(1) + within.sum(1) - within.diag())).log().mean()


@pytest.fixture(autouse=True)
def _apart(apart):
    pass


@pytest.mark.parametrize("item_layers", [1, 2])
@pytest.mark.parametrize("recipe", ["published-code", "default"])
def test_scores_equal_the_dense_reference(recipe, item_layers):
    model = built(recipe, n_item_layers=item_layers).eval()
    users, items, views, _ = dense_forward(
        model, item_layers=item_layers, published=recipe == "published-code"
    )
    wanted = users @ items.T
    assert wanted.isfinite().all()
    assert (model.scores(torch.arange(USERS)).double() - wanted).abs().max() < 1e-5
    for name, view in model.views().items():
        assert (view.double() - views[name]).abs().max() < 1e-5


def test_negative_cosines_are_in_the_graph_that_is_compared():
    """Else ``keep`` and ``clamp`` would be the same and the test above blind to it."""
    graph = built("published-code").modalities["image"]
    assert graph.raw_neighbours.value.min() < -0.01
    assert graph.raw_graph.matrix.values().min() < 0
    assert built("default").modalities["image"].raw_graph.matrix.values().min() == 0


def test_the_loss_of_a_batch_equals_one_written_by_hand():
    model = built("published-code", reg_weight=0.1, contrastive_weight=0.5, temperature=0.7)
    model.train()
    user, positive, negative = (
        torch.tensor([0, 5, 5, 17]),
        torch.tensor([3, 1, 8, 31]),
        torch.tensor([9, 9, 0, 4]),
    )
    got = model.loss(Batch(user, positive, negative))
    users, items, views, fused = dense_forward(model)
    u, p, n = users[user], items[positive], items[negative]
    wanted = -torch.log(torch.sigmoid((u * p).sum(1) - (u * n).sum(1))).mean()
    wanted += 0.1 * 0.5 * ((u**2).sum() + (p**2).sum() + (n**2).sum()) / 4
    unit = torch.nn.functional.normalize
    wanted += 0.5 * sum(dense_contrastive(unit(view), unit(fused), 0.7) for view in views.values())
    assert abs(got.item() - wanted.item()) < 1e-5


def test_the_projection_learns_at_the_first_batch_after_a_rebuild_alone():
    model = built("published-code").train()
    batch = Batch(torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    for first in (True, False):
        model.zero_grad()
        model.loss(batch).backward()
        for graph in model.modalities.values():
            assert (graph.projection.weight.grad is not None) == first
            assert (graph.raw.grad is not None) == first
            assert not first or graph.raw.grad.isfinite().all()
        assert model.item_embedding.weight.grad.abs().sum() > 0


def tables(n: int = 60, d: int = 8):
    rows = (torch.randn(n, d, generator=Rng(s).torch(), dtype=torch.float64) for s in (1, 2))
    return (torch.nn.functional.normalize(x, dim=1) for x in rows)


def test_contrastive_equals_the_dense_one_and_so_do_its_gradients(monkeypatch):
    """Similarities at once; anchors in chunks of 7 with a rest, one by one; items in blocks, the same."""
    view, fused = (x.requires_grad_() for x in tables())
    wanted = dense_contrastive(torch.nn.functional.normalize(view, dim=1), fused, 0.5)
    gradients = torch.autograd.grad(wanted, [view, fused])
    for elements, rows in ((1 << 25, 60), (120 * 7, 60), (1, 60), (1 << 25, 59), (2 * 7 * 8, 8), (1, 1)):
        monkeypatch.setattr(contrastive, "CHUNK_ELEMENTS", elements)
        monkeypatch.setattr(contrastive, "ROWS", rows)
        got = contrastive.contrastive_loss(view, fused, 0.5)
        assert abs(got.item() - wanted.item()) < 1e-12
        for mine, theirs in zip(torch.autograd.grad(got, [view, fused]), gradients, strict=True):
            assert torch.allclose(mine, theirs, atol=1e-12)


def test_one_anchor_at_a_time_it_is_exact_in_the_mean():
    view, fused = tables()
    exact = contrastive.contrastive_loss(view, fused, 0.5)
    single = [contrastive.contrastive_loss(view, fused, 0.5, torch.tensor([i])) for i in range(len(view))]
    assert torch.isclose(torch.stack(single).mean(), exact, atol=1e-12)
    some = torch.tensor([4, 4, 59])
    assert torch.isclose(
        contrastive.contrastive_loss(view, fused, 0.5, some), (2 * single[4] + single[59]) / 3, atol=1e-12
    )


def test_contrastive_is_least_where_the_views_agree():
    view, fused = tables()
    assert contrastive.contrastive_loss(fused, fused, 0.5) < contrastive.contrastive_loss(view, fused, 0.5)
