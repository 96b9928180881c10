"""Memory and time of MICRO by catalogue size, with growth exponents (``make benchmark``).

Seconds per epoch are extrapolated: median step × steps of an epoch + the share of a rebuild of the
learned graphs. The kNN of the raw features is done once per data set and kept, so it stands apart.
``RECSIM_BENCHMARK_SIZES="1000 2000"`` chooses other sizes.
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
SIZES = [int(n) for n in os.environ.get("RECSIM_BENCHMARK_SIZES", "2000 10000 30000 100000").split()]
COLUMNS = ("raw_knn", "rebuild", "step", "epoch", "peak_gb", "above_start_gb")


def exponents(rows: list[dict[str, float]]) -> dict[str, float]:
    """Slope of log value over log size, by least squares."""
    size = np.log([row["items"] for row in rows])
    return {c: float(np.polyfit(size, np.log([max(row[c], 1e-9) for row in rows]), 1)[0]) for c in COLUMNS}


@pytest.mark.benchmark
@pytest.mark.timeout(3 * 3600)
def test_memory_grows_no_faster_than_the_catalogue(tmp_path):
    rows = []
    for n in SIZES:
        environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / str(n))}
        command = [sys.executable, "-W", "ignore", str(HERE / "micro_at_size.py"), str(n)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=HERE.parents[1]
        )
        assert done.returncode == 0, done.stderr
        rows.append(json.loads(done.stdout))
    growth = exponents(rows)
    shown = [[row["items"], row["batches"], *(row[c] for c in COLUMNS)] for row in rows]
    shown.append(["exponent", "", *growth.values()])
    heads = (
        "items",
        "steps",
        "raw kNN s (once)",
        "rebuild s",
        "step s",
        "epoch s",
        "peak GB",
        "above start GB",
    )
    print("\n" + tabulate(shown, heads, floatfmt=".3f", tablefmt="github"))
    assert growth["above_start_gb"] <= 1.2
    assert max(row["peak_gb"] for row in rows) < 24
