"""Products and messages over edges against the tables that they stand for, with their gradients."""

import pytest
import torch

from rankers.item_graphs.learned_edges import edge_products, messages


@pytest.fixture
def graph():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 3, generator=draw, dtype=torch.float64, requires_grad=True) for n in (6, 5))
    weight = torch.randn(6, 2, generator=draw, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 1], [1, 4], [4, 4], [0, 2], [2, 1], [1, 0]])  # 3 is nobody's, 4 twice one's
    return a, b, weight, index


def test_they_are_what_the_tables_give(graph):
    a, b, weight, index = graph
    assert torch.allclose(edge_products(a, b, index), (a[:, None] * b[index]).sum(2))
    assert torch.allclose(messages(weight, b, index), (weight[..., None] * b[index]).sum(1))


def test_their_gradients_are_right(graph):
    a, b, weight, index = graph
    assert torch.autograd.gradcheck(lambda x, y: edge_products(x, y, index), (a, b))
    assert torch.autograd.gradcheck(lambda w, y: messages(w, y, index), (weight, b))


def test_both_ends_may_be_one_table(graph):
    _, b, _, index = graph
    assert torch.autograd.gradcheck(lambda x: edge_products(x, x, index[:5]), (b,))
