"""Time and memory of an epoch by catalogue size, with growth exponents (``make benchmark``).

Choices grow with the items; features are in a file. Other sizes, such as
``RECSIM_BENCHMARK_SIZES="10000 30000 100000 300000 1000000"``, and ``RECSIM_BENCHMARK_RANKERS="micro"``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tabulate import tabulate

HERE = Path(__file__).resolve().parent
SIZES = [int(n) for n in os.environ.get("RECSIM_BENCHMARK_SIZES", "10000 30000 100000").split()]
RANKERS = os.environ.get("RECSIM_BENCHMARK_RANKERS", "micro lightgcn taste").split()
COLUMNS = ("neighbours", "rebuild", "epoch", "validation", "peak_gb", "own_bytes")
FROM = 30_000  # sizes that an exponent is of: below, an epoch has less than 32 steps


def growth(rows: list[dict[str, float]], column: str) -> float:
    """Slope of log value over log size, by least squares, from `FROM` on."""
    large = [row for row in rows if row["items"] >= min(FROM, SIZES[-2])]
    size, value = ([max(row[c], 1e-9) for row in large] for c in ("items", column))
    return float(np.polyfit(np.log(size), np.log(value), 1)[0])


@pytest.mark.benchmark
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("ranker", RANKERS)
def test_an_epoch_grows_as_the_data_do(tmp_path, ranker):
    rows = []
    for n in SIZES:
        environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / str(n))}
        script = str(HERE / "ranker_at_size.py")
        command = [sys.executable, "-W", "ignore", script, ranker, str(n), "--mapped"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    exponents = {column: growth(rows, column) for column in COLUMNS}
    shown = [[row["items"], row["steps"], *(row[c] for c in COLUMNS), row["recall"]] for row in rows]
    shown.append(["exponent", "", *exponents.values()])
    times = ("neighbours s (once)", "rebuild s", "epoch s", "validation s")
    heads = ("items", "steps", *times, "peak GB", "bytes an item", "recall")
    print(f"\n{ranker}\n" + tabulate(shown, heads, floatfmt=".3f", tablefmt="github"))
    assert exponents["epoch"] <= 1.15
    assert exponents["own_bytes"] <= 0.15  # those of an item
    assert max(row["peak_gb"] for row in rows) < 24
    for row in rows:
        if row["items"] == 1_000_000:
            assert row["epoch"] < 600
            assert row["peak_gb"] < 8
