"""One size of the benchmark, in a process of its own: prints seconds and peak memory as JSON.

    python tests/benchmarks/micro_at_size.py 10000

The catalogue is synthetic: two modalities of 384 and 128 numbers, as many users as items, 8 choices
each. What is timed is what a training does, by MICRO's default settings.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

STEPS = 5


def world(n: int) -> tuple[Any, Any]:
    """Features in 50 clusters, so that neighbours mean something; users choose at random."""
    import numpy as np

    from recsim_gen.core.types import Catalog, Interactions

    draw = np.random.default_rng(0)
    cluster = draw.integers(50, size=n)
    features = {
        m: (draw.standard_normal((50, d))[cluster] + draw.standard_normal((n, d))).astype(np.float32)
        for m, d in (("image", 384), ("text", 128))
    }
    ids = np.arange(n).astype(str)
    item = (
        draw.integers(n, size=(n, 1)) + np.cumsum(draw.integers(1, max(2, n // 9), size=(n, 8)), axis=1)
    ) % n
    user = np.repeat(np.arange(n), 8)
    m = len(user)
    split = np.full(m, "train")
    return Catalog(ids, ids, ids, ids, None, features), Interactions(
        user, item.ravel(), np.arange(m), np.ones(m), split, ids, n
    )


def peak_gb() -> float:
    """Largest resident memory of this process so far.

    From VmHWM: ``ru_maxrss`` of a child starts at what its parent held.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("no VmHWM in /proc/self/status: this benchmark needs Linux")


class Clock:
    """Seconds a function takes, every call."""

    def __init__(self, function: Any) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *args: Any) -> Any:
        start = time.perf_counter()
        result = self.function(*args)
        self.seconds += time.perf_counter() - start
        return result


def measure(n: int) -> dict[str, float]:
    """Seconds of the raw kNN, of a rebuild and of a step; the epoch is extrapolated from them."""
    import torch

    from rankers.item_graphs import modality_graph
    from rankers.micro import MICRO, MICRORanker
    from rankers.recbole.bridge import session
    from recsim_gen.core.randomness import Rng

    catalog, interactions = world(n)
    before = peak_gb()
    ranker = MICRORanker()
    raw = modality_graph.cached_nearest = Clock(modality_graph.cached_nearest)
    with session(MICRO, interactions, ranker._settings(catalog), Rng(0), "cpu") as opened:
        model = MICRO(opened.config, opened.dataset).train()
        optimizer = torch.optim.Adam(model.parameters())
        seconds = []
        for number, batch in enumerate(opened.train):
            start = time.perf_counter()
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
            if number == STEPS:
                break
        first, *steps = seconds
        batches = len(opened.train)
        model.eval()
        model.final()
    step = statistics.median(steps) if steps else first
    rebuild = first - step
    return {
        "items": n,
        "batches": batches,
        "raw_knn": raw.seconds,
        "rebuild": rebuild,
        "step": step,
        "epoch": batches * step + rebuild / ranker.config.rebuild_every,
        "peak_gb": peak_gb(),
        "above_start_gb": peak_gb() - before,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]))) + "\n")
