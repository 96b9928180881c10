"""One ranker at one size, in a process of its own: prints seconds and peak memory as JSON.

    python tests/benchmarks/ranker_at_size.py micro 10000
    python tests/benchmarks/ranker_at_size.py lightgcn 10000 --settings '{"train_batch_size": 8192}'

The catalogue is synthetic: two modalities of 384 and 128 numbers, as many users as items, 8 choices each and
one for validation. What is timed is one epoch as training does it, and one validation, in seconds of the
processor, which others' work does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from recsim_gen.core.vectors import MappedRows, write_mapped

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as commands do

CHOICES = 9
WIDTHS = {"image": 384, "text": 128}


def world(n: int) -> tuple[Any, Any]:
    """Catalogue with `features`, and choices at random."""
    from recsim_gen.core.types import Catalog, Interactions

    draw, ids = np.random.default_rng(1), np.arange(n).astype(str)
    step = draw.integers(1, max(2, n // (CHOICES + 1)), size=(n, CHOICES))
    item = (draw.integers(n, size=(n, 1)) + np.cumsum(step, axis=1)) % n
    m = n * CHOICES
    split = np.where(np.arange(m) % CHOICES == CHOICES - 1, "valid", "train")
    kind = np.char.add("c", (_clusters(n) % 30).astype(str))
    catalog = Catalog(ids, ids, ids, kind, None, features(n))
    return catalog, Interactions(
        np.repeat(np.arange(n), CHOICES), item.ravel(), np.arange(m), np.ones(m), split, ids, n
    )


def _clusters(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(50, size=n)


def features(n: int) -> dict[str, Any]:
    """Features in 50 clusters of 24 directions each, so that neighbours mean something."""
    draw, cluster = np.random.default_rng(2), _clusters(n)
    inner = draw.standard_normal((n, 24), dtype=np.float32)
    drawn = {}
    for modality, d in WIDTHS.items():
        centres = draw.standard_normal((50, d), dtype=np.float32)
        x = inner @ draw.standard_normal((24, d), dtype=np.float32) / 24**0.5
        x += centres[cluster]
        x += 0.1 * draw.standard_normal((n, d), dtype=np.float32)
        drawn[modality] = x
    return drawn


def peak_gb() -> float:
    """Largest resident memory of this process so far.

    From VmHWM: ``ru_maxrss`` of a child starts at what its parent held.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("no VmHWM in /proc/self/status: this benchmark needs Linux")


class Clock:
    """Seconds that a function takes, every call, by ``now``: those of the processor; it stands in for it."""

    def __init__(self, owner: Any, name: str, now: Callable[[], float] = time.process_time) -> None:
        self.calls, function = list[float](), getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = now()
            try:
                return function(*args, **kwargs)
            finally:
                self.calls.append(now() - start)

        mock.patch.object(owner, name, timed).start()

    @property
    def seconds(self) -> float:
        """Those of all calls."""
        return sum(self.calls)


def trained_in_epochs(ranker: Any, catalog: Any, interactions: Any) -> dict[str, float]:
    """Seconds of what is done once, of an epoch and of a validation, without rebuilds but for their share.

    ``rebuild`` is that of the validation: projections that have learned mix clusters and take longer.
    """
    from rankers.item_graphs import modality_graph
    from rankers.training import loop
    from recsim_gen.core.randomness import Rng

    raw = Clock(modality_graph, "cached_neighbours")
    rebuild = Clock(modality_graph.ModalityGraph, "rebuild")
    epoch, validation = Clock(loop, "one_epoch"), Clock(loop.Validation, "__call__")
    ranker.fit(catalog, interactions, rng=Rng(0))
    modalities = len(rebuild.calls) // 2  # each once in the epoch and once in the validation
    first, last = sum(rebuild.calls[:modalities]), sum(rebuild.calls[modalities:])
    return {
        "steps": -(-len(interactions.only("train")[0]) // ranker.config.train_batch_size),
        "neighbours": raw.seconds,
        "rebuild": last,
        "epoch": epoch.seconds - first + last / getattr(ranker.config, "rebuild_every", 1),
        "validation": validation.seconds - last,
    }


def in_closed_form(ranker: Any, catalog: Any, interactions: Any) -> dict[str, float]:
    """Seconds of the whole fit, which is one epoch."""
    from recsim_gen.core.randomness import Rng

    fit = Clock(ranker, "fit")
    ranker.fit(catalog, interactions, rng=Rng(0))
    return {"steps": 1, "neighbours": 0.0, "rebuild": 0.0, "epoch": fit.seconds, "validation": 0.0}


class OwnMemory(threading.Thread):
    """Largest memory of this process beside files that it maps, read every 20 ms; bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes = self.peak = self._now()
        self.start()

    @staticmethod
    def _now() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no RssAnon in /proc/self/status: this benchmark needs Linux")

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, self._now())
            time.sleep(0.02)


def mapped_world(n: int) -> tuple[Any, Any]:
    """`world`, its features in files; drawn by another process, whose memory is not this one's."""
    from recsim_gen.core.store import cache_dir

    folder = cache_dir() / f"features-{n}"
    drawing = multiprocessing.get_context("spawn").Process(target=write_features, args=(n, folder))
    drawing.start()
    drawing.join()
    with mock.patch(f"{__name__}.features", return_value={}):
        catalog, interactions = world(n)
    for m in WIDTHS:
        catalog = catalog.with_features(m, None, MappedRows(folder / f"{m}.npy"))
    return catalog, interactions


def write_features(n: int, folder: Path) -> None:
    """Write `features` as float16."""
    for m, x in features(n).items():
        write_mapped(folder / f"{m}.npy", n, [x])


def measure(name: str, n: int, settings: dict[str, Any], mapped: bool) -> dict[str, float | str]:
    """Seconds and gigabytes of one ranker; ``above_start_gb``: more than the data themselves and Python.

    ``own_bytes``: of that, an item, without files that are mapped.
    """
    from recsim_gen.artifacts.trained_rankers import make_ranker
    from recsim_gen.core.specs import RankerSpec

    once = {} if name == "taste" else {"epochs": 1, "eval_step": 1}
    ranker = make_ranker(RankerSpec(name, {**once, **settings}))
    catalog, interactions = (mapped_world if mapped else world)(n)
    before, own = peak_gb(), OwnMemory()
    fit = in_closed_form if name == "taste" else trained_in_epochs
    times = fit(ranker, catalog, interactions)
    recall = getattr(ranker, "neighbour_recall", {})
    return {
        "ranker": name,
        "items": n,
        **times,
        "peak_gb": peak_gb(),
        "above_start_gb": peak_gb() - before,
        "own_bytes": (own.peak - own.start_bytes) / n,
        "recall": min(recall.values(), default=1.0),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("ranker")
    parser.add_argument("items", type=int)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--mapped", action="store_true", help="features stay in files, as float16")
    given = parser.parse_args()
    sys.stdout.write(json.dumps(measure(given.ranker, given.items, given.settings, given.mapped)) + "\n")
