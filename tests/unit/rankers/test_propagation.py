"""Message passing: products and the mean of layers are autograd's, to the bit."""

import pytest
import torch

from rankers import propagation, sparse_rows
from rankers.propagation import (
    Graph,
    GraphConv,
    Near,
    layers,
    mean_of_layers,
    row_by_row,
    rows_of_mean,
    rows_of_mean_and_first,
    user_item_graph,
)
from rankers.training.pairs import Batch
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
def test_rows_of_the_mean_and_their_gradient_are_those_of_the_layers(graph, depth):
    x, h, batch = rows(1).requires_grad_(), rows(5)[USERS:].requires_grad_(), drawn_batch()
    first, *rest = layers(GraphConv(), x, graph, depth)
    users, items = (sum(rest, first) / (1 + depth)).split([USERS, ITEMS])
    theirs = of_batch(users, items + h, batch)
    ours = rows_of_mean(*x.split([USERS, ITEMS]), graph, depth, near(batch, graph), h)
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    for mine, other in zip(slopes(ours, x, h), slopes(theirs, x, h), strict=True):
        assert torch.equal(mine, other)
    mean = mean_of_layers(*x.split([USERS, ITEMS]), graph, depth)
    assert torch.equal(torch.cat(mean), torch.cat([users, items]))


@pytest.mark.parametrize("large", [False, True])
def test_rows_of_the_first_layer_add_their_gradient_to_that_of_the_mean(graph, large, monkeypatch):
    x, batch = rows(1).requires_grad_(), drawn_batch()
    users, items = x.split([USERS, ITEMS])
    apart = *rows_of_mean(users, items, graph, 2, near(batch, graph)), *of_batch(users, items, batch)
    monkeypatch.setattr(sparse_rows, "LARGE", 0 if large else 1 << 22)
    mean, first = rows_of_mean_and_first(users, items, graph, 2, near(batch, graph))
    torch.testing.assert_close((*mean, *first), apart)
    torch.testing.assert_close(slopes((*mean, *first), x), slopes(apart, x))


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_large_tables_are_propagated_to_the_rows_of_a_batch_with_the_same_result(graph, depth, monkeypatch):
    x, h, batch = rows(1).requires_grad_(), rows(5)[USERS:].requires_grad_(), drawn_batch()
    whole = rows_of_mean(*x.split([USERS, ITEMS]), graph, depth, near(batch, graph), h)
    mean = mean_of_layers(*x.split([USERS, ITEMS]), graph, depth)
    of_whole = slopes(whole, x, h)
    monkeypatch.setattr(sparse_rows, "LARGE", 0)
    some = near(batch, graph)
    assert some.items is not None
    assert len(some.items) < ITEMS
    parts = rows_of_mean(*x.split([USERS, ITEMS]), graph, depth, some, h[some.items])
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(slopes(parts, x, h), of_whole)
    torch.testing.assert_close(mean_of_layers(*x.split([USERS, ITEMS]), graph, depth), mean)


def test_edges_into_some_nodes_give_their_rows_of_the_product(graph):
    x, some = rows(1).requires_grad_(), torch.tensor([0, 7, 55, 79])
    whole, part = GraphConv()(x, graph)[some], GraphConv()(x, graph.of_rows(some))
    assert torch.equal(part, whole)
    theirs, ours = (torch.autograd.grad((y * rows(2)[:4]).sum(), x)[0] for y in (whole, part))
    torch.testing.assert_close(ours, theirs)


def test_a_symmetric_graph_is_its_own_transpose(graph):
    dense = graph.matrix.to_dense()
    assert torch.equal(graph.transpose.to_dense(), dense.T)
    assert (graph.transpose is graph.matrix) == torch.equal(dense, dense.T)


def test_weights_of_the_same_edge_are_summed():
    edges = Graph.from_edges(
        torch.tensor([2, 2, 0]), torch.tensor([1, 1, 2]), torch.tensor([1.0, 2.0, 4.0]), 3
    )
    assert edges.matrix.to_dense().tolist() == [[0, 0, 4], [0, 0, 0], [0, 3, 0]]


def test_a_function_of_rows_is_the_same_in_parts(monkeypatch):
    a, b = rows(1).requires_grad_(), rows(2).requires_grad_()
    whole = function_of_rows(a, b)
    slopes = torch.autograd.grad((whole * rows(3)).sum(), (a, b))
    monkeypatch.setattr(sparse_rows, "LARGE", 0)
    monkeypatch.setattr(propagation, "ROWS", 7)
    parts = row_by_row(function_of_rows, a, b)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad((parts * rows(3)).sum(), (a, b)), slopes)


def function_of_rows(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).tanh() / (1 + a.square().sum(1, keepdim=True))


def drawn_batch() -> Batch:
    draw = Rng(3).torch()
    return Batch(*(torch.randint(n, (12,), generator=draw) for n in (USERS, ITEMS, ITEMS)))


def near(batch: Batch, graph: Graph) -> Near:
    return Near.of(batch, graph, USERS, 16)


def of_batch(users: torch.Tensor, items: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
    return users[batch.user], items[batch.positive], items[batch.negative]


def slopes(out: tuple[torch.Tensor, ...], *of: torch.Tensor) -> tuple[torch.Tensor, ...]:
    total = sum((y * rows(seed)[:12]).sum() for y, seed in zip(out, (2, 3, 4, 5, 6, 7), strict=False))
    assert isinstance(total, torch.Tensor)
    return torch.autograd.grad(total, of, retain_graph=True)


def test_a_graph_holds_no_indices_but_its_own(graph):
    for matrix in (graph.matrix, graph.transpose):
        assert matrix.values().untyped_storage().nbytes() == 4 * matrix.values().numel()
        assert matrix.col_indices().untyped_storage().nbytes() == 4 * matrix.values().numel()
