"""``python -m recsim_gen.train_verifier`` as the reader runs it."""

from __future__ import annotations

import numpy as np
from command_line import call

from recsim_gen.core import results
from recsim_gen.datasets.opening import open_data
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.scoring import open_metric

SHOP = ["--data=boutique", "--data-settings.n_items=90", "--data-settings.n_users=20"]


def test_it_trains_saves_and_reports_its_auc(tmp_path, monkeypatch):
    argv = [*SHOP, "--verifier.epochs=2", "--output=out", "--quiet"]
    process = call("train_verifier", *argv, here=tmp_path / "here", cache=tmp_path / "cache")
    assert process.returncode == 0, process.stderr
    found = results.load(tmp_path / "here" / "out")
    (row,) = found.rows
    assert (row["variant"], row["metric"], row["seed"]) == ("verifier", "auc", 0)
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert any("chosen against not chosen" in note for note in found.notes)
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    data = open_data("boutique", n_items=90, n_users=20)
    metric = open_metric(f"verifier[{tmp_path}/here/out/seed0]", Resources(dataset=data))
    assert f"test AUC {row['value']:.3f}" in metric.recipe.note
    assert metric.range == (0, 1)
    assert np.isfinite(row["value"])


def test_a_wrong_setting_is_told_before_any_data_is_read(tmp_path):
    process = call("train_verifier", "--verifier.epoch=2", here=tmp_path / "here", cache=tmp_path / "cache")
    assert process.returncode == 2
    assert "unknown setting 'epoch' of verifier. Did you mean 'epochs'?" in process.stderr
    assert list((tmp_path / "here").iterdir()) == []
