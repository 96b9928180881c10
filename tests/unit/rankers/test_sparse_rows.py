"""The sparse operations against torch's plain ones."""

import pytest
import torch

from rankers.sparse_rows import (
    SLABS,
    SparseRows,
    above,
    at_least,
    coo,
    count_true,
    largest,
    none,
    products,
    true_at,
    union,
)
from recsim_gen.core.randomness import Rng


@pytest.mark.parametrize("n", [5, 160, 1000, 16 * 40, 16 * 40 + 15])
def test_the_largest_of_each_row_are_topks(n):
    x = torch.randn(7, n, generator=Rng(n).torch())
    x[:, n // 2 :] = x[:, : n - n // 2].clone()  # ties
    x[0] = 0
    for k in (1, 5):
        value, index = largest(x, k)
        assert torch.equal(value, x.topk(k, dim=1).values)
        assert torch.equal(x.gather(1, index), value)
        assert all(len(set(row.tolist())) == k for row in index)
    assert 1000 // SLABS > 5  # so that parts are laid over each other at all


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 16), (9, 1001)])
def test_true_positions_are_those_of_nonzero(shape):
    for share in (0.0, 0.01, 0.5, 1.0):
        mask = torch.rand(shape, generator=Rng(1).torch()) < share
        assert torch.equal(true_at(mask), mask.flatten().nonzero().squeeze(1))


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 1)])
def test_comparisons_are_torchs(shape):
    x, bar = (torch.randn(size, generator=Rng(2).torch()) for size in ((3, 5), shape))
    x[0, 0], x[1, 1] = torch.nan, bar.expand(3, 5)[1, 1]
    for x in (x, x.clone().requires_grad_()):  # noqa: B020
        assert torch.equal(at_least(x, bar), x >= bar)
        assert torch.equal(above(x, bar), x > bar)


@pytest.mark.parametrize("n", [1, 8, 2039, 2040, 2041, 9001])
def test_counts_of_rows_are_their_sums(n):
    for share in (0.0, 0.5, 1.0):
        mask = torch.rand(3, n, generator=Rng(n).torch()) < share
        assert torch.equal(count_true(mask), mask.sum(1))


def test_products_of_pairs_are_those_of_the_full_product():
    a, b = (torch.randn(n, 24, generator=Rng(n).torch(), dtype=torch.float64) for n in (4, 30))
    start = torch.tensor([0, 3, 3, 8, 9])
    column = torch.tensor([29, 0, 5, 7, 7, 1, 2, 3, 11])
    row = torch.arange(4).repeat_interleave(start.diff())
    torch.testing.assert_close(products(a, b, start, column), (a @ b.T)[row, column], atol=1e-14, rtol=0)


def test_entries_in_any_order_and_doubles_make_a_matrix():
    row, column = torch.tensor([2, 0, 2, 2, 1]), torch.tensor([4, 1, 4, 0, 3])
    value, table = torch.arange(5.0), torch.arange(15.0).view(5, 3)
    dense = torch.zeros(3, 5).index_put((row, column), value, accumulate=True)
    assert torch.equal(torch.ones(3, 3).addmm_(coo(row, column, value, (3, 5)), table), 1 + dense @ table)


def test_new_rows_stand_over_the_table():
    base = torch.arange(12.0).view(6, 2)
    rows = SparseRows(torch.tensor([1, 6, 9]), -torch.ones(3, 2))  # of changes 0, 1 and 1
    key = torch.tensor([0, 1, 6, 8, 9])
    wanted = torch.stack([base[0], -torch.ones(2), -torch.ones(2), base[2], -torch.ones(2)])
    assert torch.equal(rows.over(key, base), wanted)
    assert torch.equal(rows.take(key, base), wanted)
    assert torch.equal(rows.take(key.flip(0), base), wanted.flip(0))
    assert torch.equal(rows.take(torch.tensor([11, 6]), base), torch.stack([base[5], -torch.ones(2)]))
    assert torch.equal(none(base).take(key, base), base[key % 6])
    assert torch.equal(union([rows.key, none(base).key, key]), torch.tensor([0, 1, 6, 8, 9]))
