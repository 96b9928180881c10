"""``python -m recsim_gen.simulate`` as the reader runs it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest
from command_line import call, start, tracked
from PIL import Image

from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.experiments.simulation.measures import MEASURES
from recsim_gen.simulate import PEOPLE_CHOOSE, main

WORLD = ["--data-settings.n_items=600", "--data-settings.n_users=150"]
ARMS = ["original", "placebo", "oracle", "shuffled", "aa"]
SMALL = [*WORLD, "--rounds=2", "--seeds", "0", "1", "2", "--trials=20"]
TINY = ["--data-settings.n_items=100", "--data-settings.n_users=30", "--rounds=2", "--seeds=0", "--trials=2"]
KILLS = 10


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One undisturbed run: (process, its folder, its cache)."""
    root = tmp_path_factory.mktemp("simulate")
    process = call("simulate", *SMALL, "--output=out", here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here", root / "cache"


@pytest.fixture(scope="module")
def frame(done):
    return results.load(done[1] / "out").frame()


def whole(frame: pd.DataFrame, arm: str, metric: str, meaning: str = "product") -> pd.Series:
    """The row over all seeds."""
    at = (frame["variant"] == arm) & (frame["metric"] == metric) & (frame["meaning"] == meaning)
    (row,) = (row for _, row in frame[at & frame["seed"].isna()].iterrows())
    return row


def test_every_arm_meaning_measure_and_seed_has_its_row(frame):
    plain = frame[frame["metric"].isin(MEASURES)]
    assert list(dict.fromkeys(plain["variant"])) == ARMS
    assert (plain.groupby(["variant", "metric", "meaning"]).size() == 4).all()  # three seeds, and over all
    assert set(plain["meaning"]) == {"packaging", "product"}
    assert (plain["n"] == 150).all()
    assert (plain["low"] <= plain["high"]).all()


def test_the_oracle_beats_the_original_and_the_original_beats_shuffled_pictures(frame):
    """In choices and in liking of what came, where what is seen is what comes."""
    for metric in ("choices", "delivered"):
        assert whole(frame, "oracle", f"{metric}_minus_original")["low"] > 0
    for metric in ("choices", "expected"):
        e = whole(frame, "shuffled", f"{metric}_minus_original")
        assert e["value"] < 0, metric
    assert whole(frame, "shuffled", "choices_minus_original")["high"] < 0


def test_a_cover_that_promises_what_the_item_is_not_is_told_so(frame, done):
    verdicts = results.load(done[1] / "out").verdicts
    assert verdicts["oracle (product)"].startswith("helps")
    assert verdicts["oracle (packaging)"].startswith("does not help: choices are won by promising")
    assert whole(frame, "oracle", "disappointment", "packaging")["low"] > 0
    assert whole(frame, "oracle", "disappointment")["value"] == 0
    assert whole(frame, "oracle", "returns", "packaging")["low"] > 0
    packaged = whole(frame, "oracle", "choices", "packaging")
    assert packaged["value"] == whole(frame, "oracle", "choices")["value"]  # people do not know


def test_what_differs_in_nothing_shows_nothing(frame, done):
    """Another picture of the same look, read by the reader; and the original again."""
    verdicts = results.load(done[1] / "out").verdicts
    for meaning in ("packaging", "product"):
        assert verdicts[f"placebo ({meaning})"].startswith("no difference")
        assert verdicts[f"aa ({meaning})"].startswith("holds: nothing differs")
    for metric in MEASURES:
        assert whole(frame, "placebo", f"{metric}_minus_original")["value"] == 0


def test_estimates_from_the_log_stand_beside_the_truth(done, frame):
    table = pd.read_csv(done[1] / "out" / "off_policy.csv")
    assert len(table) == 5 * 5 * 3
    told = table[(table["log"] == "original") & (table["estimator"] == "ips")].set_index("variant")
    assert told.loc["oracle", "truth"] > told.loc["original", "truth"] == told.loc["placebo", "truth"]
    row = frame[(frame["variant"] == "oracle") & (frame["metric"] == "dr_from_original")].iloc[0]
    assert row["low"] < row["value"] < row["high"]
    assert "| oracle" in (done[1] / "out" / "off_policy.md").read_text()


def test_the_log_is_kept_with_pictures_and_propensities(done, frame):
    log = pd.read_csv(done[1] / "out" / "log.csv.gz", keep_default_na=False)
    assert len(log) == 3 * len(ARMS) * 2 * 150
    assert set(log["pictures"]) == set(ARMS)
    own, first = log["pictures"] == log["arm"], log["round"] == 1
    assert log.loc[own & first, "propensity"].unique().tolist() == pytest.approx([0.8 + 0.2 / 5])
    assert log.loc[~own, "propensity"].unique().tolist() == pytest.approx([0.2 / 5])
    assert log.loc[~first, "propensity"].unique().tolist() == [1]
    taken = zip(log["chosen"], log["items"], strict=True)
    assert all(chosen in ("", *items.split()) for chosen, items in taken)
    mine = log[(log["arm"] == "oracle") & ~log["explored"]]
    assert (mine["chosen"] != "").mean() == pytest.approx(
        whole(frame, "oracle", "choices")["value"], abs=1e-3
    )


def test_table_figure_and_rounds(done):
    process, here, _ = done
    for word in (*PEOPLE_CHOOSE, "coverage", "gini", "packaging", "rounds.png", "--backend-store-uri"):
        assert word in process.stdout
    assert "0.0% of real pictures are read wrong" in process.stdout
    assert "Traceback" not in process.stderr
    with Image.open(here / "out" / "rounds.png") as image:
        assert image.size[0] > 1000
    rounds = pd.read_csv(here / "out" / "rounds.csv")
    assert len(rounds) == len(ARMS) * 2 * 2 * len(MEASURES)
    first = rounds[(rounds["round"] == 1) & (rounds["metric"] == "coverage")]
    assert first["value"].nunique() == 1  # all arms begin with the same lists


def test_children_have_equal_keys_and_curves_in_mlflow(done):
    status, children = tracked(done[1] / "mlflow.db")
    assert status == "FINISHED"
    assert set(children) == set(ARMS)
    for keys in children.values():
        assert {"packaging/choices", "product/delivered_low", "round/packaging/choices"} <= keys
    with sqlite3.connect(done[1] / "mlflow.db") as connection:
        steps = connection.execute("select distinct step from metrics where key = 'round/product/gini'")
        assert {step for (step,) in steps} == {1, 2}


def test_the_page_shows_it(done):
    argv = ["--tracking-uri=sqlite:///mlflow.db", "--output=page.html"]
    process = call("report", *argv, here=done[1], cache=done[2])
    assert process.returncode == 0, process.stderr
    page = (done[1] / "page.html").read_text()
    for word in ("An A/B test in a simulated shop", "oracle (packaging)", "rounds", "Choices a visit in the"):
        assert word in page


def same(a, b) -> bool:
    """Whether two ``results.json`` are alike but for times, paths and what the process ran on."""
    one, two = (json.loads((folder / "results.json").read_text()) for folder in (a, b))
    return all(one[key] == two[key] for key in ("rows", "verdicts", "notes", "fingerprints"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_ten_moments_it_ends_with_the_same_numbers(tmp_path):
    argv, here = [*TINY, "--output=out", "--quiet"], tmp_path
    begun = time.monotonic()
    assert call("simulate", *argv, here=here / "alone", cache=tmp_path / "one").returncode == 0
    seconds, hits = time.monotonic() - begun, 0
    for share in sorted(random.Random(0).uniform(0.3, 1.0) for _ in range(KILLS)):
        process = start("simulate", *argv, here=here / "killed", cache=tmp_path / "other")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=share * seconds)
        process.kill()  # nothing where it is done
        process.communicate()
        hits += process.returncode == -signal.SIGKILL
    assert call("simulate", *argv, here=here / "killed", cache=tmp_path / "other").returncode == 0
    assert hits >= 1
    assert same(here / "killed" / "out", here / "alone" / "out")


@pytest.mark.slow
def test_two_processes_give_the_same_results(tmp_path):
    """They share the drawing; what each sees is the same."""
    environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "-m",
        "recsim_gen.simulate",
    ]
    argv = [*launch, *TINY, "--output=out"]
    how = {"capture_output": True, "text": True, "timeout": 280}
    process = subprocess.run(argv, cwd=tmp_path, env=environment, check=False, **how)
    assert process.returncode == 0, process.stderr
    assert (
        call("simulate", *TINY, "--output=out", here=tmp_path / "one", cache=tmp_path / "c").returncode == 0
    )
    assert same(tmp_path / "out", tmp_path / "one" / "out")


def test_a_world_of_ones_own(apart, monkeypatch, empty_store):
    """Everybody likes what is red, and pictures show what they show."""
    shutil.copy(empty_store, apart)
    (apart / "reds.py").write_text(
        "import numpy as np\n"
        "class Reds:\n"
        "    name, fingerprint, outside = 'reds', 'reds', 5.0\n"
        "    def __init__(self, dataset, *, models, device):\n"
        "        self.codes = dataset.world.codes\n"
        "    def looks(self, items):\n"
        "        return self.codes[items, 1:2]\n"
        "    def read(self, images):\n"
        "        return np.zeros((len(images), 1), dtype=int)\n"
        "    def utility(self, people, looks):\n"
        "        return 5.0 * (looks[:, 0] == 0)\n"
        "    def misread(self):\n"
        "        return 0.9\n"
        "class Half:\n"
        "    name = 'half'\n"
        "    def __init__(self, dataset, *, models, device): pass\n"
    )
    monkeypatch.syspath_prepend(str(apart))
    argv = [*TINY, "--arms", "placebo", "--quiet"]
    assert run(main, [*argv, "--world=reds:Reds", "--output=out"]) == 0
    found = results.load(apart / "out")
    assert any("90.0% of real pictures are read wrong" in note for note in found.notes)
    assert found.verdicts["placebo (product)"].startswith("helps")  # read as red, whatever it shows
    assert run(main, [*argv, "--world=reds:Half", "--output=half"]) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--arms", "original", "orcle"], "unknown generator 'orcle'. Did you mean 'oracle'?"),
        (
            ["--arms", "original", "shuffled"],
            "shuffled shows a generator's pictures to other people: name one",
        ),
        (["--arms", "aa", "aa"], "--arms: give each value once, got aa twice"),
        (["--rounds=0"], "rounds must be 1 or more, got 0"),
        (["--personal=20"], "personal must be 0 to the list's length 10, got 20"),
        (["--explore=2"], "explore is a share of visits, 0 to 1, got 2"),
        (["--attention=-1"], "attention 0 or more"),
        (["--seeds", "1", "1"], "seeds: give each value once"),
        (["--meaning", "poster"], "meaning"),
        (["--trials=1"], "trials must be 2 or more, got 1"),
        (["--ranker=mcro"], "unknown ranker 'mcro'. Did you mean 'micro'?"),
        (["--world=nowhere:World"], "world 'nowhere:World': no module 'nowhere'"),
        (["--length=70"], "every round needs lists of 70 items"),
        pytest.param(
            ["--data=ml-100k", "--encoders.text=words"],
            "the preferences of ml-100k are unknown, so it has no world",
            marks=pytest.mark.recbole,
        ),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_told_with_what_to_do(argv, message, apart, capsys):
    data = [] if any("--data=" in word for word in argv) else TINY[:2]
    assert run(main, [*data, *argv, "--output=out", "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert not (apart / "out").exists()
