"""The sparse operations against torch's plain ones."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array

from rankers.sparse_rows import (
    SLABS,
    UNCACHED,
    Ragged,
    above,
    at_least,
    coo,
    csr,
    distinct,
    largest,
    product,
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


@pytest.mark.parametrize("columns", [1, 16, 50])
def test_a_sparse_product_is_the_dense_one_whether_the_table_is_in_the_cache_or_not(columns):
    n, draw = UNCACHED // columns + 1, np.random.default_rng(0)
    places = draw.integers(200, size=900), draw.integers(n, size=900)  # rows stay empty, places meet
    matrix = coo_array((draw.random(900, dtype=np.float32), places), shape=(200, n)).tocsr()
    x = torch.from_numpy(draw.standard_normal((n, columns), dtype=np.float32))
    for some, table in ((matrix, x), (matrix[:, :50], x[:50])):
        expected = torch.from_numpy(some @ table.numpy())
        torch.testing.assert_close(product(csr(some), table), expected)


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


def test_keys_of_several_come_once_and_lists_are_taken_in_any_order():
    key = torch.tensor([1, 6, 9])
    assert torch.equal(union([key, key[:0], torch.tensor([0, 1, 8])]), torch.tensor([0, 1, 6, 8, 9]))
    assert torch.equal(union([key, key[:0]]), key)
    lists = Ragged.of(key, 3, 6)  # of lists 0, 1 and 1
    assert lists.which.tolist() == [0, 1, 1]
    assert lists.item.tolist() == [1, 0, 3]
    some = lists.take(torch.tensor([1, 2, 0, 1]))
    assert some.start.tolist() == [0, 2, 2, 3, 5]
    assert some.item.tolist() == [0, 3, 1, 0, 3]


@pytest.mark.parametrize("count", [0, 1, 500])
def test_distinct_rows_and_their_places_are_those_of_unique(count):
    rows = torch.randint(300, (count,), generator=Rng(0).torch())
    found, place = distinct(rows, 300)
    expected, expected_place = rows.unique(return_inverse=True)
    assert torch.equal(found, expected)
    assert torch.equal(place, expected_place)
