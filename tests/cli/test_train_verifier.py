"""``python -m recsim_gen.train_verifier`` as the reader runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from PIL import Image

from recsim_gen.core import results
from recsim_gen.core.results import Results
from recsim_gen.datasets.flickr_aes import RATINGS, SCORES
from recsim_gen.datasets.opening import open_data
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.scoring import open_metric

SHOP = ["--data=boutique", "--data-settings.n_items=90", "--data-settings.n_users=20"]


def row(found: Results, variant: str, metric: str, seed: int | None = None) -> dict:
    (one,) = [r for r in found.rows if (r["variant"], r["metric"], r["seed"]) == (variant, metric, seed)]
    return one


def test_it_trains_saves_and_reports_its_auc(tmp_path, monkeypatch):
    argv = [*SHOP, "--verifier.epochs=2", "--output=out", "--quiet"]
    process = call("train_verifier", *argv, here=tmp_path / "here", cache=tmp_path / "cache")
    assert process.returncode == 0, process.stderr
    found = results.load(tmp_path / "here" / "out")
    of_all = row(found, "verifier", "auc", 0)
    assert 0 <= of_all["low"] <= of_all["value"] <= of_all["high"] <= 1
    lines = ["verifier", "mean picture", "person + item mean", "chance"]
    assert [x.split("|")[1].strip() for x in process.stdout.splitlines() if x[:2] == "| "][1:] == lines
    assert any("chosen against not chosen" in note for note in found.notes)
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    data = open_data("boutique", n_items=90, n_users=20)
    metric = open_metric(f"verifier[{tmp_path}/here/out/seed0]", Resources(dataset=data))
    assert f"test AUC {of_all['value']:.3f}" in metric.recipe.note
    assert metric.range == (0, 1)
    assert np.isfinite(of_all["value"])


def photographs(folder: Path) -> Path:
    """300 photographs in FLICKR-AES's layout; the names of the workers say how they rate.

    Half of the photographs are reddish. ``red…`` give 5 to these and 1 to the others, ``blue…`` the other way
    round, ``high…`` mostly 5 and sometimes 1, whatever they see, and ``all…`` only 4 and 5.
    """
    draw = np.random.default_rng(0)
    (folder / "40K").mkdir(parents=True)
    reddish = draw.random(300) < 0.5
    for i, red in enumerate(reddish.tolist()):
        colour = draw.integers(0, 90, 3) + np.array([160, 0, 0] if red else [0, 0, 160])
        Image.new("RGB", (16, 16), tuple(colour.tolist())).save(folder / "40K" / f"f{i}.jpg")
    rates = {
        "red": lambda: np.where(reddish, 5, 1),
        "blue": lambda: np.where(reddish, 1, 5),
        "high": lambda: np.where(draw.random(300) < 0.85, 5, 1),
        "all": lambda: np.where(draw.random(300) < 0.5, 5, 4),
    }
    lines = ["worker, imagePair, score"]
    for kind, rate in rates.items():
        for k in range(4):
            lines += [f"{kind}{k}, f{i}.jpg, {score}" for i, score in enumerate(rate().tolist())]
    (folder / RATINGS).write_text("\n".join(lines) + "\n")
    (folder / SCORES).write_text("\n".join(f"f{i}.jpg 0.5" for i in range(300)) + "\n")
    return folder


def test_it_knows_who_likes_red_and_that_who_likes_everything_tells_nothing(tmp_path):
    """Ratings with a known answer; 1 and 2 count, though they are no choices, and a person is one."""
    data = photographs(tmp_path / "flickr")
    argv = [f"--data=flickr-aes:{data}", "--encoder=pixels", "--seeds", "0", "1", "--output=out", "--quiet"]
    argv += ["--verifier.epochs=12", "--verifier.lr=1e-3", "--verifier.batch=64"]
    process = call("train_verifier", *argv, here=tmp_path / "here", cache=tmp_path / "cache")
    assert process.returncode == 0, process.stderr
    found = results.load(tmp_path / "here" / "out")
    assert any(note.startswith("4,800 opinions of 16 people") for note in found.notes)
    assert any("too low to be choices" in note for note in found.notes)
    people = pd.read_csv(tmp_path / "here" / "out" / "people.csv")
    kind = people["person"].str.rstrip("0123456789")
    within = people.groupby(kind)["verifier"].mean()
    assert set(within.index) == {"red", "blue", "high"}  # who likes everything has no opinion within
    assert within["red"] > 0.97
    assert within["blue"] > 0.97
    assert within["high"] == pytest.approx(0.5, abs=0.1)
    assert row(found, "mean picture", "auc_within")["value"] == 0.5
    assert row(found, "person + item mean", "auc")["value"] > 0.6  # for who likes much in general
    assert (
        row(found, "verifier", "auc_within")["low"] > row(found, "person + item mean", "auc_within")["high"]
    )


def test_a_wrong_setting_is_told_before_any_data_is_read(tmp_path):
    process = call("train_verifier", "--verifier.epoch=2", here=tmp_path / "here", cache=tmp_path / "cache")
    assert process.returncode == 2
    assert "unknown setting 'epoch' of verifier. Did you mean 'epochs'?" in process.stderr
    assert list((tmp_path / "here").iterdir()) == []
