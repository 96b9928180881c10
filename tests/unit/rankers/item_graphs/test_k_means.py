"""Cells hold rows that are alike, and rounding stays where it was asked for."""

import pytest
import torch
import torch.nn.functional as F

from rankers.item_graphs.bfloat16 import rounded_products
from rankers.item_graphs.k_means import by_cell, centres_of, chained, closest
from recsim_gen.core.randomness import Rng


def of_clusters(spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    draw = Rng(0).torch()
    centres, cluster = torch.randn(5, 40, generator=draw), torch.randint(5, (600,), generator=draw)
    return F.normalize(centres[cluster] + spread * torch.randn(600, 40, generator=draw), dim=1), cluster


def test_no_cell_holds_rows_of_two_clusters_that_are_apart():
    x, cluster = of_clusters(0.1)
    start, rows = by_cell(closest(x, centres_of(x, 30)), 30)
    for cell in rows.tensor_split(start[1:-1]):
        assert len(cluster[cell].unique()) <= 1
    assert torch.equal(rows.sort().values, torch.arange(600))


def test_rounds_bring_centres_nearer_to_their_rows():
    x, _ = of_clusters(0.8)
    nearness = [(x @ centre.T).amax(1).mean() for centre in (x[:30], centres_of(x, 30))]
    assert nearness[1] > nearness[0] + 0.01


def test_a_chain_has_every_centre_once_and_goes_to_the_nearest():
    centre = F.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 0.2], [0.3, 1], [1, 0.9]]), dim=1)
    assert torch.equal(chained(centre), centre[[0, 2, 4, 3, 1]])


def test_products_are_as_before_after_those_that_were_rounded():
    a = torch.randn(64, 64, generator=Rng(1).torch())
    plain = a @ a.T
    with rounded_products():
        torch.testing.assert_close(a @ a.T, plain, atol=0.5, rtol=0.05)
    assert torch.equal(a @ a.T, plain)
    with pytest.raises(ZeroDivisionError), rounded_products():
        raise ZeroDivisionError
    assert torch.equal(a @ a.T, plain)
