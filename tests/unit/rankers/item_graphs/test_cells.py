"""Neighbours by an index: nearly all of the true ones, decided exactly, the same every time."""

from itertools import pairwise
from unittest import mock

import pytest
import torch

from rankers.item_graphs import cells
from rankers.item_graphs.cells import cached_neighbours, indexed, neighbours, recall
from rankers.item_graphs.knn import Neighbours, candidate_cosines, directions, nearest
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng


def clusters(n: int = 4000, d: int = 24, spread: float = 0.5) -> torch.Tensor:
    draw = Rng(0).torch()
    centres = torch.randn(40, d, generator=draw)
    return centres[torch.randint(40, (n,), generator=draw)] + spread * torch.randn(n, d, generator=draw)


def test_nearly_all_true_neighbours_are_found_with_their_exact_cosines():
    x = clusters()
    found, true = indexed(x, 10), nearest(x, 10)
    hits = (found.index[:, :, None] == true.index[:, None]).any(1).double().mean().item()
    assert 0.99 <= hits < 1  # less than all: the index was asked, and not the exact search
    assert recall(x, found) == pytest.approx(hits, abs=0.005)
    unit = directions(x)
    assert torch.equal(found.value, candidate_cosines(unit, unit, found.index))
    assert torch.equal(found.index[:, 0], torch.arange(len(x)))


def test_the_lists_fall_and_the_same_come_again_with_two_threads():
    x, threads = clusters(2000), torch.get_num_threads()
    one = indexed(x, 10)
    assert (one.value.diff(dim=1) <= 0).all()
    try:
        torch.set_num_threads(threads + 1)
        two = indexed(x, 10)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.index, two.index)
    assert torch.equal(one.value, two.value)


@pytest.mark.parametrize("search", [nearest, indexed])
def test_parts_of_the_rows_have_the_lists_that_all_have(search):
    """What processes share: any part, an empty one, too."""
    x = clusters(2000)
    whole = search(x, 10)
    bounds = [0, 1, 700, 700, 1400, 2000]
    parts = [search(x, 10, slice(start, stop)) for start, stop in pairwise(bounds)]
    assert [part.index.shape for part in parts] == [(b - a, 10) for a, b in pairwise(bounds)]
    assert torch.equal(torch.cat([part.index for part in parts]), whole.index)
    assert torch.equal(torch.cat([part.value for part in parts]), whole.value)


def test_where_there_are_no_clusters_the_exact_search_is_done_and_told(capsys):
    x = torch.randn(1500, 200, generator=Rng(1).torch())
    with mock.patch.object(cells, "nearest", wraps=nearest) as exact:
        found = indexed(x, 10)
    assert exact.call_count == 1
    assert torch.equal(found.index, nearest(x, 10).index)
    assert recall(x, found) == 1
    assert "the features of 1,500 items form no clusters" in capsys.readouterr().err


def test_neighbours_in_other_clusters_are_found_without_the_exact_search():
    """A few directions that all clusters share say more than the cluster, as in projections in training."""
    x, draw = clusters(6000, spread=0.3), Rng(2).torch()
    x = x + 2 * torch.randn(len(x), 3, generator=draw) @ torch.randn(3, x.shape[1], generator=draw)
    with mock.patch.object(cells, "nearest", side_effect=AssertionError("the index was enough")):
        assert recall(x, indexed(x, 10)) >= 0.99


def test_thousands_of_equal_rows_are_each_others_neighbours():
    x = clusters(5000)
    x[:3000] = x[0]
    found = indexed(x, 10)
    assert recall(x, found) >= 0.99
    assert (found.index[:3000] < 3000).all()


def test_zero_rows_and_duplicates_are_as_in_the_exact_search():
    x = clusters(1500)
    x[700] = 0
    x[900:903] = x[10]
    found, true = indexed(x, 6), nearest(x, 6)
    for row in (700, 10, 901):
        assert torch.equal(found.index[row], true.index[row])
        assert torch.equal(found.value[row], true.value[row])


def test_rows_in_cells_of_too_few_are_compared_with_all():
    """Forty clusters of three rows: no cell holds ten."""
    x = clusters(120, spread=0.01)
    assert recall(x, indexed(x, 10)) == 1


def test_recall_is_the_share_that_is_left_when_neighbours_are_taken_away():
    x = clusters(3000)
    true = nearest(x, 11)
    without_second = torch.cat([true.index[:, :1], true.index[:, 2:]], 1)
    value = torch.cat([true.value[:, :1], true.value[:, 2:]], 1)
    assert recall(x, Neighbours(without_second, value)) == pytest.approx(0.9)
    assert recall(x, true.first(10)) == 1


@pytest.mark.usefixtures("apart")
def test_the_index_is_asked_from_the_size_that_is_given_and_kept_apart():
    x = clusters(1000)
    with mock.patch.object(cells, "indexed", wraps=indexed) as asked:
        for approximate_from in (0, 1001):
            cached_neighbours(x, 5, approximate_from)
            assert torch.equal(neighbours(x, 5, approximate_from).index, nearest(x, 5).index)
        assert not asked.called
        first = cached_neighbours(x, 5, 1000)
        assert torch.equal(cached_neighbours(x, 5, 1000).index, first.index)
    assert asked.call_count == 1


@pytest.mark.usefixtures("apart")
def test_the_cache_is_keyed_by_content_and_k():
    x = torch.randn(30, 4, generator=Rng(3).torch())
    swapped = x.clone()
    swapped[7] = -swapped[7]
    for table, k in ((x, 5), (swapped, 5), (x, 6), (x.double(), 5)):
        fresh, kept = nearest(table, k), cached_neighbours(table, k, 0)
        assert torch.equal(kept.index, fresh.index)
        assert torch.equal(kept.value, fresh.value)
    with mock.patch.object(cells, "nearest", side_effect=AssertionError("was kept")):
        again = cached_neighbours(x, 5, 0)
    assert torch.equal(again.index, nearest(x, 5).index)
    assert again.index.dtype == torch.int64


def test_too_few_rows_are_told():
    with pytest.raises(DataError, match="at least k = 5 items, got 4"):
        neighbours(torch.eye(4), 5, 1)
