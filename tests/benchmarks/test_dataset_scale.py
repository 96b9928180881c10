"""Time and memory of opening a data set by its size, with growth exponents (``make benchmark``).

The largest size is 230,000 pictures and 1,000,000 choices, in a tar and in a folder.
``RECSIM_BENCHMARK_IMAGES="1000 2000"`` chooses other sizes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tabulate import tabulate

HERE = Path(__file__).resolve().parent
SIZES = [int(n) for n in os.environ.get("RECSIM_BENCHMARK_IMAGES", "25000 75000 230000").split()]
COLUMNS = ("open", "wall", "above_start_gb", "digests", "read_ms")


def ask(*words: object, cache: Path) -> str:
    command = [sys.executable, "-W", "ignore", str(HERE / "datasets_at_size.py"), *map(str, words)]
    environment = {**os.environ, "RECSIM_CACHE": str(cache)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=HERE.parents[1]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kept", ["tar", "folder"])
def test_opening_takes_seconds_and_less_than_a_gigabyte(tmp_path, kept):
    rows = []
    for n in SIZES:
        ask("write", n, kept, tmp_path / f"{n}", cache=tmp_path)
        rows.append(json.loads(ask("open", tmp_path / f"{n}", cache=tmp_path / "cache")))
        shutil.rmtree(tmp_path / f"{n}")
    size = np.log([row["items"] for row in rows])
    growth = {c: float(np.polyfit(size, np.log([row[c] for row in rows]), 1)[0]) for c in COLUMNS}
    shown = [[row["items"], row["choices"], row["episodes"], *(row[c] for c in COLUMNS)] for row in rows]
    shown.append(["exponent", "", "", *growth.values()])
    heads = ("pictures", "choices", "episodes", "open s", "wall s", "above start GB", "digests s", "read ms")
    print(f"\n{kept}\n" + tabulate(shown, heads, floatfmt=".3f", tablefmt="github"))
    assert growth["open"] < 1.3
    assert growth["above_start_gb"] < 1.2
    assert rows[-1]["peak_gb"] < 1.0
    assert rows[-1]["open"] < 30
