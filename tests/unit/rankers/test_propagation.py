"""Message passing: products and the mean of layers are autograd's, to the bit."""

import pytest
import torch

from rankers.propagation import GraphConv, layers, mean_of_layers, user_item_graph
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
    mean, ours = sum(rest, first) / (1 + depth), mean_of_layers(x, graph, depth)
    assert torch.equal(ours, mean)
    theirs, mine = (torch.autograd.grad((out * rows(2)).sum(), x) for out in (mean, ours))
    assert torch.equal(mine[0], theirs[0])
