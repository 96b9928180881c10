"""Time and memory of the content ranker by catalogue size: as many people as items, 20 choices each."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rankers.taste import TasteRanker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Interactions

SIZES = (2_000, 20_000, 100_000)
CATEGORIES, WIDTH, CHOICES, TRIPLES = 30, 64, 20, 10_000


def world(n: int) -> tuple[Catalog, Interactions]:
    draw = np.random.default_rng(0)
    ids = [f"i{k}" for k in range(n)]
    features = {"image": draw.standard_normal((n, WIDTH)).astype(np.float32)}
    catalog = Catalog(ids, ids, ids, [f"c{k % CATEGORIES}" for k in range(n)], None, features)
    user = np.repeat(np.arange(n), CHOICES)
    first = draw.integers(n, size=n)
    item = (first[:, None] + np.arange(CHOICES) * 37).reshape(-1) % n
    split = np.where(np.arange(n * CHOICES) % CHOICES == CHOICES - 1, "valid", "train")
    names = [f"u{k}" for k in range(n)]
    time_ = np.tile(np.arange(CHOICES, dtype=float), n)
    return catalog, Interactions(user, item, time_, np.ones(len(user)), split, names, n)


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_fit_and_substitution_grow_linearly():
    draw = np.random.default_rng(1)
    rows = []
    for n in SIZES:
        catalog, chosen = world(n)
        start = time.perf_counter()
        ranker = TasteRanker().fit(catalog, chosen, rng=Rng(0))
        fitted = time.perf_counter() - start
        users, items = draw.integers(n, size=TRIPLES), draw.integers(n, size=TRIPLES)
        new = {"image": catalog.features["image"][draw.integers(n, size=TRIPLES)]}
        start = time.perf_counter()
        ranker.substitute(users, items, new)
        substituted = time.perf_counter() - start
        rows.append((n, fitted, substituted))
        print(f"N {n:>7,}: fit {fitted:6.1f} s, {TRIPLES:,} substitutions {substituted:6.1f} s")
    (small, fit_small, swap_small), (large, fit_large, swap_large) = rows[1:]
    grown = large / small
    assert fit_large / fit_small < 1.5 * grown
    assert swap_large / swap_small < 1.5 * grown
