"""The one pass over all items misses nobody, whatever rounding takes of the rows."""

from itertools import pairwise

import pytest
import torch

from rankers.item_graphs import scan as scanning
from rankers.item_graphs.graph_change import GraphState
from rankers.item_graphs.knn import Directions, directions, nearest
from rankers.item_graphs.scan import Quick, scan
from rankers.item_graphs.shadow import Basis
from recsim_gen.core.randomness import Rng

ITEMS, WIDTH, COUNT = 6003, 48, 12


def table(kind: str) -> Directions:
    draw = Rng(0).torch()
    x = torch.randn(ITEMS, WIDTH, generator=draw)
    if kind == "clusters":  # whose cosines differ by less than bfloat16 tells
        x = x[torch.randint(30, (ITEMS,), generator=draw)] + 0.03 * x
    elif kind == "ties":
        x[1000:1400] = x[7]
        x[3::5] = 0
    elif kind == "opposite":  # no cosine is above 0
        x = x[:1].abs() * (1 + 0.1 * torch.rand(ITEMS, 1, generator=draw))
    return Directions.of(x)


def some_directions(r: int) -> Basis:
    drawn = torch.randn(WIDTH, r, generator=Rng(5).torch(), dtype=torch.float64)
    return Basis(torch.linalg.qr(drawn).Q)


def rows_of(found) -> list[set[int]]:
    bounds = found.start.tolist()
    return [set(found.item[a:b].tolist()) for a, b in pairwise(bounds)]


@pytest.mark.parametrize("kind", ["plain", "clusters", "ties", "opposite"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("basis", [Basis(), some_directions(1), some_directions(40)])
def test_nobody_who_is_near_is_missed(kind, dtype, basis):
    unit = table(kind)
    new = directions(torch.randn(9, WIDTH, generator=Rng(1).torch()))
    new[:4] = directions(unit[:4] + 0.02 * new[:4])
    new[4], new[5], new[6] = 0, unit[7], -unit[8]
    cosine = new @ unit[:].T
    lowest = cosine[:, torch.randperm(ITEMS, generator=Rng(2).torch())].amax(0)  # reached by few
    lowest[::2] = cosine[:, ::2].amax(0)  # by one exactly
    quick = Quick.of(unit, lowest.float() - 1e-6, basis, dtype)
    enters, nearest = scan(new, quick, COUNT)
    kth = cosine.topk(COUNT, dim=1).values[:, -1:]
    for b, (entered, near) in enumerate(zip(rows_of(enters), rows_of(nearest), strict=True)):
        assert entered >= set((cosine[b] >= lowest).nonzero().squeeze(1).tolist())
        if new[b].any():
            assert near >= set((cosine[b] >= kth[b]).nonzero().squeeze(1).tolist())
        else:
            assert not near
    if kind == "plain" and basis.v is None:
        assert len(nearest.item) < 20 * COUNT * len(new)  # and few who are not
    assert not len(scan(new, quick, COUNT, enters=False)[0].item)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_bound_holds_and_is_not_far_above_what_rounding_takes(dtype):
    unit = table("clusters")
    quick, new = (
        Quick.of(unit, torch.zeros(ITEMS), Basis(), dtype),
        directions(torch.randn(5, WIDTH, generator=Rng(3).torch())),
    )
    rounded = new.to(dtype)
    apart = (rounded.double() @ quick.rows[:ITEMS].double().T - new @ unit[quick.item].T).abs().amax(1)
    bound = quick.error(new, rounded)
    assert (apart <= bound).all()
    assert bound.max() < 0.01


def test_blocks_make_no_difference(monkeypatch):
    unit, new = table("plain"), directions(torch.randn(3, WIDTH, generator=Rng(4).torch()))
    quick = Quick.of(unit, torch.full((ITEMS,), 0.4), Basis(), torch.bfloat16)
    whole = scan(new, quick, COUNT)
    monkeypatch.setattr(scanning, "PRODUCTS", 3 * 992)
    for one, other in zip(whole, scan(new, quick, COUNT), strict=True):
        assert rows_of(one) == rows_of(other)


@pytest.mark.parametrize(("apart", "kind"), [(1.0, torch.bfloat16), (1e-2, torch.float32)])
def test_rows_that_are_all_alike_are_not_compared_in_bfloat16(monkeypatch, apart, kind):
    """Its errors would let in nearly every row, and each would be decided exactly."""
    monkeypatch.setattr(scanning, "_quickest", lambda unit: torch.bfloat16)
    x = torch.ones(2000, WIDTH) + apart * 10 * torch.randn(2000, WIDTH, generator=Rng(0).torch())
    unit = Directions.of(x)
    state = GraphState(unit, nearest(x, 6), "symmetric", clamp=True)
    assert state.quick.rows.dtype == kind
    enters, near = scan(unit[:50], state.quick, 7)
    assert len(enters.item) + len(near.item) < 50 * 512
