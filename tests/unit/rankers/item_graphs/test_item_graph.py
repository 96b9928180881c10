"""The item graph's weights and sparse products against dense algebra."""

import pytest
import torch

from rankers.item_graphs.item_graph import edge_weights, inverse
from rankers.item_graphs.knn import Neighbours, nearest, pair_cosine, unit
from rankers.propagation import Graph, GraphConv, layers, user_item_graph
from recsim_gen.core.randomness import Rng


def table(n: int = 25, d: int = 6) -> torch.Tensor:
    return torch.randn(n, d, generator=Rng(0).torch(), dtype=torch.float64)


def dense(index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(index), len(index), dtype=weight.dtype).scatter(1, index, weight)


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("norm", ["symmetric", "row"])
def test_weights_equal_dense_algebra(norm, clamp):
    found = nearest(table(), 14)
    assert found.value.min() < 0
    adjacency = dense(found.index, found.value.clamp_min(0) if clamp else found.value)
    degree = adjacency.sum(1)
    assert degree.min() > 0
    wanted = adjacency / degree[:, None] if norm == "row" else adjacency / (degree[:, None] * degree).sqrt()
    got = edge_weights(found, norm=norm, clamp=clamp)
    assert torch.allclose(dense(found.index, got), wanted, atol=1e-12)
    if norm == "row":
        assert torch.allclose(got.sum(1), torch.ones(25, dtype=torch.float64))


@pytest.mark.parametrize("norm", ["symmetric", "row"])
def test_an_item_without_weight_has_no_edges_and_finite_gradients(norm):
    x = table()
    x[3] = 0
    x[20] = 0
    x.requires_grad_()
    index = nearest(x.detach(), 5).index
    rows = unit(x)
    weight = edge_weights(
        Neighbours(index, pair_cosine(rows.unsqueeze(1), rows[index])), norm=norm, clamp=True
    )
    assert (weight[[3, 20]] == 0).all()
    assert weight.isfinite().all()
    (weight * torch.randn(weight.shape, generator=Rng(1).torch(), dtype=torch.float64)).sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad[0].abs().sum() > 0


@pytest.mark.parametrize("norm", ["symmetric", "row"])
def test_gradients_equal_differences(norm):
    found = nearest(table(8, 3), 4)
    value = found.value.clamp_min(0.05).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: edge_weights(Neighbours(found.index, v), norm=norm, clamp=True), (value,)
    )


def test_inverse_of_zero_is_zero_and_flat():
    x = torch.tensor([0.0, 2.0, -4.0], requires_grad=True)
    y = inverse(x)
    assert y.tolist() == [0, 0.5, -0.25]
    y.sum().backward()
    assert x.grad.tolist() == [0, -0.25, -0.0625]


def test_a_graph_multiplies_as_its_dense_form_both_ways():
    found = nearest(table(), 5)
    weight = edge_weights(found, norm="row", clamp=True)
    graph = Graph.from_neighbours(found.index, weight)
    matrix = dense(found.index, weight).float()
    x = table().float().requires_grad_()
    out = GraphConv()(x, graph)
    assert torch.allclose(out, matrix @ x, atol=1e-6)
    g = torch.randn(out.shape, generator=Rng(2).torch())
    (gradient,) = torch.autograd.grad(out, x, g)
    assert torch.allclose(gradient, matrix.T @ g, atol=1e-6)


@pytest.mark.parametrize("norm", ["symmetric", "row-self-loop"])
def test_the_user_item_graph_equals_dense_algebra(norm):
    user, item = torch.tensor([0, 0, 1, 3]), torch.tensor([1, 2, 2, 0])
    n_users, n_items = 4, 5  # user 2 and items 3, 4 have no edge
    adjacency = torch.zeros(9, 9)
    adjacency[user, item + n_users] = adjacency[item + n_users, user] = 1
    if norm == "row-self-loop":
        adjacency += torch.eye(9)
        wanted = adjacency / adjacency.sum(1, keepdim=True)
    else:
        root = adjacency.sum(1).clamp_min(1).rsqrt()
        wanted = root[:, None] * adjacency * root
    graph = user_item_graph(user, item, n_users, n_items, norm)
    assert torch.allclose(graph.matrix.to_dense(), wanted)
    assert torch.allclose(graph.transpose.to_dense(), wanted.T)
    x = torch.randn(9, 3, generator=Rng(3).torch())
    for depth, layer in enumerate(layers(GraphConv(), x, graph, 3)):
        assert torch.allclose(layer, torch.linalg.matrix_power(wanted, depth) @ x, atol=1e-6)
