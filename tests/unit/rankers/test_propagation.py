"""Message passing: products and the mean of layers are autograd's, to the bit."""

import pytest
import torch

from rankers import propagation
from rankers.propagation import Graph, GraphConv, layers, mean_of_layers, row_by_row, user_item_graph
from recsim_gen.core.randomness import Rng

USERS, ITEMS = 50, 30


@pytest.fixture(params=["symmetric", "row-self-loop"])
def graph(request):
    draw = Rng(0).torch()
    user, item = (torch.randint(n, (400,), generator=draw) for n in (USERS, ITEMS))
    return user_item_graph(user, item, USERS, ITEMS, request.param)


def rows(seed: int) -> torch.Tensor:
    return torch.randn(USERS + ITEMS, 16, generator=Rng(seed).torch())


def test_a_product_and_its_gradient_are_those_of_the_dense_matrix(graph):
    dense, x = graph.matrix.to_dense(), rows(1).requires_grad_()
    out = GraphConv()(x, graph)
    torch.testing.assert_close(out, dense @ x)
    (slope,) = torch.autograd.grad((out * rows(2)).sum(), x)
    torch.testing.assert_close(slope, dense.T @ rows(2))


@pytest.mark.parametrize("depth", [0, 1, 2, 4])
def test_the_mean_of_layers_and_its_gradient_are_those_of_the_layers(graph, depth):
    x = rows(1).requires_grad_()
    first, *rest = layers(GraphConv(), x, graph, depth)
    mean, ours = sum(rest, first) / (1 + depth), means(x, graph, depth)
    assert torch.equal(ours, mean)
    theirs, mine = (torch.autograd.grad((out * rows(2)).sum(), x) for out in (mean, ours))
    assert torch.equal(mine[0], theirs[0])


@pytest.mark.parametrize("depth", [0, 2])
def test_a_large_table_is_propagated_some_columns_at_a_time_with_the_same_result(graph, depth, monkeypatch):
    x = rows(1).requires_grad_()
    whole = means(x, graph, depth)
    slope = torch.autograd.grad((whole * rows(2)).sum(), x)[0]
    monkeypatch.setattr(propagation, "LARGE", 0)
    monkeypatch.setattr(propagation, "NARROW", 3)
    parts = means(x, graph, depth)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad((parts * rows(2)).sum(), x)[0], slope)


def test_a_function_of_rows_is_the_same_in_parts(monkeypatch):
    a, b = rows(1).requires_grad_(), rows(2).requires_grad_()
    whole = function_of_rows(a, b)
    slopes = torch.autograd.grad((whole * rows(3)).sum(), (a, b))
    monkeypatch.setattr(propagation, "LARGE", 0)
    monkeypatch.setattr(propagation, "ROWS", 7)
    parts = row_by_row(function_of_rows, a, b)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad((parts * rows(3)).sum(), (a, b)), slopes)


def function_of_rows(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).tanh() / (1 + a.square().sum(1, keepdim=True))


def means(x: torch.Tensor, graph: Graph, depth: int) -> torch.Tensor:
    return torch.cat(mean_of_layers(*x.split([USERS, ITEMS]), graph, depth))


def test_a_graph_holds_no_indices_but_its_own(graph):
    for matrix in (graph.matrix, graph.transpose):
        assert matrix.values().untyped_storage().nbytes() == 4 * matrix.values().numel()
        assert matrix.col_indices().untyped_storage().nbytes() == 4 * matrix.values().numel()
