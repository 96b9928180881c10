"""Nearest neighbours against brute force: ties, duplicates, zero rows, blocks, cache."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rankers.item_graphs import knn
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng


def brute_force(x: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair's cosine in whole numbers, sorted by falling value, then rising index.

    Unit rows are multiples of 2⁻²⁶, so that cosines are multiples of 2⁻⁵² and exact.
    """
    unit = x.double()
    norm = unit.norm(dim=1, keepdim=True)
    steps = (unit / torch.where(norm > 0, norm, 1) * 2**26).round().long()
    cosine = (steps[:, None] * steps[None]).sum(-1).numpy()
    index = np.lexsort((np.broadcast_to(np.arange(len(x)), cosine.shape), -cosine), axis=1)[:, :k]
    return index, np.take_along_axis(cosine, index, 1) * 2.0**-52


@st.composite
def tables(draw):
    """Small integers: duplicates, zero rows, opposite rows and exact ties are the rule."""
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    high = draw(st.integers(1, 3))
    x = draw(arrays.arrays(np.float32, (n, d), elements=st.integers(-high, high).map(float)))
    return torch.from_numpy(x), draw(st.integers(1, n))


@settings(max_examples=150, deadline=None)
@given(tables(), st.integers(0, 8), st.sampled_from([1, 700, 64 << 20]))
def test_equals_brute_force_with_the_lowest_index_first(table, spare, block_bytes):
    x, k = table
    index, value = brute_force(x, k)
    with mock.patch.multiple(knn, SPARE=spare, BLOCK_BYTES=block_bytes):
        found = knn.nearest(x, k)
    assert (found.index.numpy() == index).all()
    assert (found.value.numpy() == value).all()
    assert found.index.dtype == torch.int64
    assert found.value.dtype == torch.float64


def test_agrees_with_plain_algebra_where_nothing_is_tied():
    x = torch.randn(300, 40, generator=Rng(0).torch())
    unit = (x.double() / x.double().norm(dim=1, keepdim=True)).numpy()
    cosine = unit @ unit.T
    found = knn.nearest(x, 12)
    assert (found.index.numpy() == np.argsort(-cosine, axis=1)[:, :12]).all()
    assert np.allclose(found.value, -np.sort(-cosine, axis=1)[:, :12], atol=1e-14)
    assert (found.index[:, 0] == torch.arange(300)).all()


def test_differences_too_small_for_float32_are_seen():
    """60 rows around one direction, whose cosines differ by 1e-8 and less."""
    x = 1 + 1e-4 * torch.randn(60, 16, generator=Rng(1).torch(), dtype=torch.float64)
    index, value = brute_force(x, 5)
    found = knn.nearest(x, 5)
    assert (found.index.numpy() == index).all()
    assert (found.value.numpy() == value).all()
    assert 0 < value.max() - value.min() < 1e-7
    alike = (x.float() / x.float().norm(dim=1, keepdim=True)).double()
    assert ((alike @ alike.T) - 1).abs().max() < 3e-7  # in float32 all 60 are one


def test_more_duplicates_than_spare_places_go_to_the_lowest_indices():
    x = torch.cat([torch.eye(3), torch.ones(50, 3), torch.zeros(2, 3)])
    found = knn.nearest(x, 4)
    assert found.index[40].tolist() == [3, 4, 5, 6]
    assert found.index[54].tolist() == [0, 1, 2, 3]  # a zero row ties with everything at 0
    assert found.value[54].tolist() == [0, 0, 0, 0]
    assert found.first(2).index[40].tolist() == [3, 4]


def test_a_row_keeps_its_bits_in_any_block_and_company():
    x = torch.randn(257, 33, generator=Rng(2).torch())
    with mock.patch.object(knn, "BLOCK_BYTES", 1):
        one_by_one = knn.nearest(x, 9)
    together = knn.nearest(x, 9)
    assert torch.equal(one_by_one.value, together.value)
    assert torch.equal(one_by_one.index, together.index)
    assert torch.equal(knn.unit(x)[100:101], knn.unit(x[100:101]))


def test_cosines_of_directions_are_exact_in_any_order():
    """So equal rows tie in any batch, in any kernel and on any device."""
    x = knn.directions(torch.randn(40, 1280, generator=Rng(4).torch()))
    order = torch.randperm(1280, generator=Rng(5).torch())
    everyone = torch.arange(40).expand(40, -1)
    exact = knn.candidate_cosines(x, x, everyone)
    for other in (
        x @ x.T,
        x[:, order] @ x[:, order].T,
        (x[:, None] * x).sum(-1),
        (x[:, None] * x).flip(-1).sum(-1),
    ):
        assert torch.equal(exact, other)
    assert (knn.directions(x) - x).abs().max() <= 2.0**-26


def test_too_few_items_are_told():
    with pytest.raises(DataError, match="at least k = 5 items, got 4"):
        knn.nearest(torch.eye(4), 5)
