"""Two processes train one ranker on two cores: seconds of the clock against those of one process.

As a control, two trainings that share nothing run side by side: what cores take from each other is not the
sharing's fault. Needs two cores that nothing else uses. ``RECSIM_BENCHMARK_TOGETHER=300000`` gives another
size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

HERE = Path(__file__).resolve().parent
ITEMS = os.environ.get("RECSIM_BENCHMARK_TOGETHER", "100000")


def launched(ranker: str, processes: int, cache: Path) -> subprocess.Popen:
    """A training by so many processes."""
    script = [str(HERE / "together_at_size.py"), ranker, ITEMS]
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "RECSIM_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *launch, *script]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def printed(training: subprocess.Popen) -> dict:
    """What the first process of a training prints at its end."""
    out, error = training.communicate()
    assert training.returncode == 0, error
    return dict(json.loads(out.splitlines()[-1]))


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ranker", ["lightgcn", "micro"])
def test_two_processes_take_six_tenths_of_the_time_of_one(tmp_path, ranker):
    one, two = (printed(launched(ranker, processes, tmp_path)) for processes in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    pair = [launched(ranker, 1, tmp_path) for _ in range(2)]
    beside = median(printed(each)["all"] for each in pair)
    for name, size in one["weights"].items():
        assert two["weights"][name] == pytest.approx(size, rel=1e-4)
    print(f"\n{ranker}, {int(ITEMS):,} items: seconds of one process, of two, and their ratio")
    for part, f in {"epoch": lambda x: median(x["epochs"]), "validation": lambda x: x["validation"]}.items():
        print(f"{part:11}{f(one):8.1f}{f(two):8.1f}{f(two) / f(one):8.2f}")
    print(f"{'all':11}{one['all']:8.1f}{two['all']:8.1f}{two['all'] / one['all']:8.2f}")
    print(f"two that share nothing, side by side: {beside / one['all']:.2f} times as long as one alone")
    assert two["all"] <= 0.6 * one["all"]
