"""Triples per second of `substitute` (graph, item) and `rebuild`, side by side in one run.

``product`` is the one (B×d)·(d×N) product in float32 that says how near a fresh picture is to every item,
the quicker of two ways: into new memory, as it is written, and into memory that is there. Seconds are the
processor's, which others' work does not lengthen; ratios are medians over rounds in which both are measured.
``RECSIM_BENCHMARK_JUDGED="100000 1000000"`` gives other large sizes.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from exact_items import random_items
from ranker_at_size import mapped_world, world

from rankers.counterfactual import BATCH_CHANGES, Changed, Counterfactuals, InteractionMask
from rankers.item_graphs.knn import directions
from rankers.item_graphs.substitution import ExactItems
from recsim_gen.core.types import Scope
from recsim_gen.core.vectors import MappedRows
from recsim_gen.encoders.features import MAPPED_FROM

SIZES = (2_000, 10_000, 20_000)
LARGE_SIZES = [int(n) for n in os.environ.get("RECSIM_BENCHMARK_JUDGED", "100000").split()]
WIDTHS = (384, 1280)
USERS, ITEM_WIDTH, CHOICES = 500, 64, 20


class Synthetic(Counterfactuals):
    """Items of random embeddings, and users at random who chose 20 each."""

    device = "cpu"

    def __init__(self, model: ExactItems) -> None:
        draw, n = torch.Generator().manual_seed(0), len(model.x)
        self.model, self._widths = model, {}
        self.users = torch.randn(USERS, ITEM_WIDTH, generator=draw, dtype=torch.float64)
        chosen = torch.randint(0, n, (USERS * CHOICES,), generator=draw).numpy()
        self._mask = InteractionMask.of(np.repeat(np.arange(USERS), CHOICES), chosen, USERS, "cpu")

    def _exact_tables(self):
        return self.users, self.model.table

    def _changed(self, items, features, scope) -> Changed:
        return self.model.changed(items, features, own_row_only=scope == "item")

    def _rebuilt(self, item, features):
        return self.model.rebuilt(item, features).table


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def in_float32(x: torch.Tensor) -> torch.Tensor:
    """The `directions` of ``x`` (n, d)."""
    out = torch.empty(x.shape)
    for part, to in zip(x.split(1 << 14), out.split(1 << 14), strict=True):
        to.copy_(directions(part))
    return out


def measured(model: ExactItems, new: torch.Tensor, rounds: int) -> dict[str, float]:
    """Of as many triples as there are pictures ``new``; no two of them are alike."""
    ranker, n, triples = Synthetic(model), len(model.x), len(new)
    draw = np.random.default_rng(0)
    users, items = draw.integers(USERS, size=triples), draw.integers(n, size=triples)
    pictures = {"image": new.numpy()}
    judged = {scope: partial(ranker.substitute, users, items, pictures, scope) for scope in get_args(Scope)}
    for one in judged.values():  # tables are made
        one()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # without those of the product
    table, held = (
        in_float32(model.modalities["image"].graph.given),
        torch.empty(min(BATCH_CHANGES, triples), n),
    )
    work = judged | {
        "into new": lambda: [part @ table.T for part in new.split(BATCH_CHANGES)],
        "into held": lambda: [
            torch.mm(part, table.T, out=held[: len(part)]) for part in new.split(BATCH_CHANGES)
        ],
    }
    taken = pd.DataFrame([{name: seconds(one) for name, one in work.items()} for _ in range(rounds)])
    product = taken[["into new", "into held"]].min(axis=1)
    out = {
        "N": n,
        "d": new.shape[1],
        "product/s": triples / float(product.median()),
        "graph/s": triples / float(taken["graph"].median()),
        "item/s": triples / float(taken["item"].median()),
        "graph/product": float((taken["graph"] / product).median()),
        "peak_gb": peak,
    }
    one = {"image": pictures["image"][:1]}
    out["rebuild/s"] = 1 / seconds(lambda: ranker.rebuild(users[:1], items[:1], one))
    quick, slow = ranker.substitute(users[:1], items[:1], one), ranker.rebuild(users[:1], items[:1], one)
    assert quick.rank == slow.rank
    return out


def shown(rows: list[dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    print("\n" + table.to_markdown(index=False, floatfmt=".3g") + f"\n{torch.get_num_threads()} threads")
    return table


@pytest.mark.benchmark
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("apart")
def test_triples_per_second():
    rows = []
    for d in WIDTHS:
        for n in SIZES:
            draw = torch.Generator().manual_seed(0)
            centres = torch.randn(200, d, generator=draw)
            x = centres[torch.randint(0, 200, (n + 512,), generator=draw)]
            x += torch.randn(x.shape, generator=draw)
            features = {"image": x[512:], "text": torch.randn(n, 64, generator=draw)}
            with torch.no_grad():
                rows.append(measured(random_items(features, d=ITEM_WIDTH), x[:512], 5))
    table = shown(rows)
    growth = [np.polyfit(np.log(part["N"]), -np.log(part["graph/s"]), 1)[0] for _, part in table.groupby("d")]
    largest = table[table["N"] == SIZES[-1]]
    assert (largest["graph/s"] / largest["rebuild/s"] > 1000).all()
    assert max(growth) <= 1.1


@pytest.mark.benchmark
@pytest.mark.timeout(2 * 3600)
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("n", LARGE_SIZES)
def test_judging_many_items_costs_less_than_two_products(n):
    """In the world of `ranker_at_size`, whose lists an index makes; features of a million items in a file."""
    catalog = (mapped_world if n >= MAPPED_FROM else world)(n)[0]
    features = {
        m: torch.from_numpy(x.half if isinstance(x, MappedRows) else x.copy())
        for m, x in catalog.features.items()
    }
    new = features["image"][:: n // 512][:512].float()  # of other items than those asked about
    with torch.no_grad():
        table = shown([measured(random_items(features, d=ITEM_WIDTH), new, 5)])
    assert table["graph/product"].item() <= 2
