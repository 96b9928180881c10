"""Triples per second of `substitute` (graph, item) and `rebuild`, side by side in one run.

``product`` is the one (B×d)·(d×N) product that a fresh picture cannot avoid: its similarity with every
item. Medians of several repetitions; random clustered features, two modalities, one item layer.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from exact_items import random_items

from rankers.counterfactual import InteractionMask, Tables, batch_size, rank_items

SIZES = (2_000, 10_000, 20_000)
WIDTHS = (384, 1280)
USERS, TRIPLES, ITEM_WIDTH = 500, 208, 64


def median_seconds(work: Callable[[], object], repeat: int) -> float:
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measured(n: int, d: int) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(200, d, generator=draw)

    def pictures(count: int) -> torch.Tensor:
        return centres[torch.randint(0, 200, (count,), generator=draw)] + torch.randn(
            count, d, generator=draw
        )

    model = random_items({"image": pictures(n), "text": torch.randn(n, 64, generator=draw)}, d=ITEM_WIDTH)
    table = Tables(torch.randn(USERS, ITEM_WIDTH, generator=draw, dtype=torch.float64), model.table)
    chosen = torch.randint(0, n, (USERS * 20,), generator=draw).numpy()
    seen = InteractionMask.of(np.repeat(np.arange(USERS), 20), chosen, USERS, "cpu")
    users = torch.randint(0, USERS, (TRIPLES,), generator=draw)
    items = torch.randint(0, n, (TRIPLES,), generator=draw)
    new = pictures(TRIPLES)

    parts = torch.arange(TRIPLES).split(batch_size(n))  # as `Counterfactuals.substitute` does

    def substitute(own_row_only: bool) -> torch.Tensor:
        ranks = []
        for at in parts:
            changed = model.changed(items[at], {"image": new[at]}, own_row_only=own_row_only)
            ranks.append(rank_items(users[at], items[at], table, seen, changed.rows)[1])
        return torch.cat(ranks)

    def rebuild() -> torch.Tensor:
        anew = model.rebuilt(items[:1], {"image": new[:1]}).table
        return rank_items(users[:1], items[:1], Tables(table.users, anew), seen, None)[1]

    assert substitute(False)[0] == rebuild()[0]
    catalogue = model.modalities["image"].states[1].fast
    return {
        "N": n,
        "d": d,
        "product": median_seconds(lambda: [new[at] @ catalogue.T for at in parts], 9) / TRIPLES,
        "graph": median_seconds(lambda: substitute(False), 5) / TRIPLES,
        "item": median_seconds(lambda: substitute(True), 5) / TRIPLES,
        "rebuild": median_seconds(rebuild, 1),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


@pytest.mark.benchmark
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("apart")
def test_triples_per_second():
    with torch.no_grad():
        table = pd.DataFrame([measured(n, d) for d in WIDTHS for n in SIZES])
    table["graph/product"] = table["graph"] / table["product"]
    table["rebuild/graph"] = table["rebuild"] / table["graph"]
    growth = {
        d: float(np.polyfit(np.log(rows["N"]), np.log(rows["graph"]), 1)[0]) for d, rows in table.groupby("d")
    }
    shown = table.assign(**{f"{c}/s": 1 / table[c] for c in ("graph", "item", "rebuild")})
    columns = ["N", "d", "graph/s", "item/s", "rebuild/s", "rebuild/graph", "graph/product", "peak_gb"]
    print("\n" + shown[columns].to_markdown(index=False, floatfmt=".3g"))
    print(f"growth exponent of graph in N: {growth}; {torch.get_num_threads()} threads")
    largest = table[table["N"] == SIZES[-1]].set_index("d")
    assert (largest["rebuild/graph"] > 1000).all()
    assert max(growth.values()) <= 1.1
    # At d = 384 the product is too quick to hide the touched rows behind: measured, not asserted.
    assert largest.loc[1280, "graph/product"] <= 3
