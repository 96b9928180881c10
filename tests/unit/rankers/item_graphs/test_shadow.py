"""Products of shadows bound cosines, and shadows are used where rows lie near few directions."""

import pytest
import torch

from rankers.item_graphs.knn import Directions
from rankers.item_graphs.shadow import Basis
from recsim_gen.core.randomness import Rng

N, D = 5000, 96


def near(directions: int, noise: float) -> Directions:
    draw = Rng(directions).torch()
    x = torch.randn(N, directions, generator=draw) @ torch.randn(directions, D, generator=draw)
    return Directions.of(x / directions**0.5 + noise * torch.randn(N, D, generator=draw))


def bars(unit: Directions, k: int = 10) -> torch.Tensor:
    return (unit[:] @ unit[:].T).topk(k, dim=1).values[:, -1].float()


@pytest.mark.parametrize("r", [1, 30, D])
def test_products_of_shadows_are_upper_bounds_as_near_as_the_rests_are_short(r):
    unit = near(20, 0.1)[:300]
    unit[7] = 0
    v = torch.linalg.qr(torch.randn(D, r, generator=Rng(1).torch(), dtype=torch.float64)).Q
    shadow, rest = Basis(v).shadow(unit)
    above = shadow @ shadow.T - unit @ unit.T
    assert shadow.shape == (300, Basis(v).width(D)) == (300, r + 1)
    assert (above > -1e-9).all()
    assert (above <= 2 * rest[:, None] * rest + 1e-9).all()
    torch.testing.assert_close(shadow.norm(dim=1), unit.norm(dim=1))
    if r == D:  # nothing is left
        assert above.abs().max() < 1e-9


def test_rows_near_few_directions_are_searched_by_them():
    unit = near(12, 0.02)
    basis = Basis.of(unit, bars(unit))
    assert basis.v is not None
    assert basis.v.shape == (D, 16)
    torch.testing.assert_close(basis.v.T @ basis.v, torch.eye(16, dtype=torch.float64))
    assert float(basis.shadow(unit[:])[1].max()) < 0.2


def test_rows_in_all_directions_are_searched_whole():
    unit = near(D, 1.0)
    basis = Basis.of(unit, bars(unit))
    assert basis.v is None
    assert basis.width(D) == D
    shadow, rest = basis.shadow(unit[:5])
    assert torch.equal(shadow, unit[:5])
    assert not rest.any()
