"""Time and memory of rounds of the simulated shop by its size."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from real_data import ROOT

SIZES = ((600, 2_000), (5_000, 5_000), (20_000, 20_000))
LARGEST = 1.0  # GiB, of the first size

PLAYED = """
import json, resource, sys, time
import shops
from recsim_gen.experiments.simulation.conclusions import conclude, outcomes
from recsim_gen.experiments.simulation.rounds import play
from recsim_gen.core.results import Results

people, items = int(sys.argv[1]), int(sys.argv[2])
shop = shops.shop(people, items, rounds=5)
begun = time.process_time()
found = outcomes(shop, {0: play(shop, 0)}, ["packaging"])
conclude(found, [0], Results("simulate", {}))
seconds = time.process_time() - begun
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"people": people, "items": items, "seconds": seconds, "gib": held}))
"""


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_rounds_grow_linearly_and_fit_into_memory(apart):
    rows = []
    for people, items in SIZES:
        command = [sys.executable, "-W", "ignore", "-c", PLAYED, str(people), str(items)]
        done = subprocess.run(
            command,
            cwd=apart,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            "{people:>7,} people, {items:>7,} items: {seconds:7.1f} s of CPU, {gib:.2f} GiB".format(
                **rows[-1]
            )
        )
    assert rows[0]["gib"] < LARGEST
    pairs = [row["people"] * row["items"] for row in rows]
    assert rows[2]["seconds"] / rows[1]["seconds"] < 1.5 * pairs[2] / pairs[1]
    assert rows[2]["gib"] < 4 * LARGEST
