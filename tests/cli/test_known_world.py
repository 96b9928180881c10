"""`python -m recsim_gen.known_world`, as a reader would run it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SMALL = ["--data-settings.n_items", "150", "--data-settings.n_users", "60", "--settings.epochs", "3"]


def run(apart, *options):
    command = [sys.executable, "-m", "recsim_gen.known_world", "--output", "out", *options]
    return subprocess.run(command, cwd=apart, capture_output=True, text=True, timeout=240, check=False)


def test_judges_are_asked_about_pictures_of_known_worth(apart):
    done = run(apart, *SMALL, "--ranker", "micro", "bpr", "--seeds", "0", "1", "--draws", "1")
    assert done.returncode == 0, done.stderr
    document = json.loads((apart / "out" / "results.json").read_text())
    rows = {(r["judge"], r["variant"], r["metric"]): r for r in document["rows"] if r["seed"] is None}
    assert {v for _, v, _ in rows} == {"oracle", "opposite", "placebo", "random", "noise", "swapped"}
    assert rows["bpr", "swapped", "swap_test_auc"]["value"] == 0.5
    assert rows["micro", "swapped", "swap_test_auc"]["value"] != 0.5
    for variant in ("oracle", "opposite", "placebo", "random", "noise"):
        assert rows["bpr", variant, "delta_r"]["value"] == 0  # blind to pictures: exactly 0
        row = rows["micro", variant, "delta_r"]
        assert row["low"] < row["high"]
        assert row["n"] == 60
        assert row["value"] != 0
    assert sum(r["metric"] == "spearman" for r in document["rows"]) == 2  # one a seed of micro, none for bpr
    assert "| oracle" in done.stdout


@pytest.mark.recbole
def test_real_data_has_no_known_tastes(apart):
    done = run(apart, "--data", "ml-100k", "--encoders.text", "words")
    assert done.returncode == 2
    assert "tastes must be known" in done.stderr
    assert not (apart / "out").exists()
