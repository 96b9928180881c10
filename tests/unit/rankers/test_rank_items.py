"""Ranks against plain counting in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rankers.counterfactual import TIE, Changed, InteractionMask, Tables, rank_items
from recsim_gen.core.randomness import Rng

USERS, ITEMS, WIDTH = 9, 700, 24


def counted(user, item, tables, left_out, new=None):
    """1-based rank of ``item`` among the others, one comparison after the other."""
    goods = tables.items.clone()
    for row, vector in (new or {}).items():
        goods[row] = vector
    scores = (goods * tables.users[user]).sum(1)
    gap = scores - scores[item]
    points = (gap > TIE).double() / 2 + (gap >= -TIE).double() / 2
    return 1 + sum(float(points[j]) for j in range(len(goods)) if j != item and j not in left_out)


def near_ties(kind: str) -> Tables:
    draw = Rng(0).torch()
    users = torch.randn(USERS, WIDTH, generator=draw, dtype=torch.float64)
    items = torch.randn(ITEMS, WIDTH, generator=draw, dtype=torch.float64)
    if kind == "clusters":  # hundreds whose scores differ by less than float32 tells, and some equal
        centre = torch.randn(1, WIDTH, generator=draw, dtype=torch.float64)
        items[:600] = centre + 1e-8 * items[:600]
        items[100:200] = items[:100]
    elif kind == "all alike":
        items[:] = items[0].clone()
    elif kind == "small users":  # as TIE is absolute, nearly everything ties
        users *= 1e-11
        users[0] = 0
    elif kind == "undefined":
        items[::7] = torch.nan
        items[1::7] *= 1e6
    return Tables(users, items)


@pytest.mark.parametrize("kind", ["plain", "clusters", "all alike", "small users", "undefined"])
def test_ranks_are_those_of_plain_counting(kind):
    tables = near_ties(kind)
    chosen = torch.randint(0, ITEMS, (USERS, 12), generator=Rng(1).torch())
    seen = InteractionMask.of(np.arange(USERS).repeat(12), chosen.flatten().numpy(), USERS, "cpu")
    users, items = torch.arange(USERS), torch.arange(USERS) * 49 + 1  # none of those undefined
    moved = torch.stack([items, chosen[:, 0], (items + 333) % ITEMS, torch.full_like(items, 699)], 1)
    key = torch.unique(users[:, None] * ITEMS + moved)
    rows = torch.randn(len(key), WIDTH, generator=Rng(2).torch(), dtype=torch.float64)
    score, rank, original, original_rank = rank_items(users, items, tables, seen, Changed.of(key, rows))
    for u in range(USERS):
        left_out = set(chosen[u].tolist())
        new = {int(k) % ITEMS: row for k, row in zip(key, rows, strict=True) if int(k) // ITEMS == u}
        assert original_rank[u] == counted(u, items[u], tables, left_out)
        assert rank[u] == counted(u, items[u], tables, left_out, new)
        assert score[u] == pytest.approx(float(tables.users[u] @ new[int(items[u])]), abs=1e-12)
        assert original[u] == pytest.approx(float(tables.users[u] @ tables.items[items[u]]), rel=1e-12)


@pytest.mark.parametrize("kind", ["plain", "clusters", "all alike", "small users", "undefined"])
def test_many_may_ask_about_one_change(kind):
    """2,000 triples in all, of few people and few changes: each rank is that of plain counting."""
    tables, draw = near_ties(kind), Rng(3).torch()
    chosen = torch.randint(0, ITEMS, (USERS, 12), generator=draw)
    seen = InteractionMask.of(np.arange(USERS).repeat(12), chosen.flatten().numpy(), USERS, "cpu")
    key = torch.randint(0, 5 * ITEMS, (400,), generator=draw).unique()
    rows = torch.randn(len(key), WIDTH, generator=draw, dtype=torch.float64)
    which, users = (torch.randint(0, size, (400,), generator=draw) for size in (5, USERS))
    items = which * 70 + 1
    _, rank, _, original = rank_items(users, items, tables, seen, Changed.of(key, rows), which)
    for b, (u, i) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        mine = (key // ITEMS == which[b]).nonzero().squeeze(1).tolist()
        left_out, new = set(chosen[u].tolist()), {int(key[m]) % ITEMS: rows[m] for m in mine}
        assert rank[b] == counted(u, i, tables, left_out, new)
        assert original[b] == counted(u, i, tables, left_out)


def test_rows_that_cannot_come_to_the_other_side_are_not_made():
    """Where rows move a little, few are asked for, and ranks are those of all."""
    tables, draw = near_ties("plain"), Rng(4).torch()
    users, items = torch.arange(USERS), torch.arange(USERS) * 49
    seen = InteractionMask.of(np.arange(0), np.arange(0), USERS, "cpu")
    key = torch.arange(USERS * ITEMS)
    step = torch.randn(len(key), WIDTH, generator=draw, dtype=torch.float64) / 1000
    rows, made = tables.items[key % ITEMS] + step, []

    def some(place):
        made.append(len(place))
        return rows[place]

    changed = replace(Changed.of(key, rows), reach=step.norm(dim=1), rows=some)
    for one, other in zip(
        rank_items(users, items, tables, seen, changed),
        rank_items(users, items, tables, seen, Changed.of(key, rows)),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert sum(made) < len(key) / 50
