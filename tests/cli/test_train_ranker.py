"""``python -m recsim_gen.train_ranker`` as the reader runs it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from command_line import BOUTIQUE, call, tracked

from recsim_gen.artifacts.checkpoints import Origin, origin_of
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.metrics.evaluation import evaluate
from recsim_gen.train_ranker import main

RANKERS = ("popularity", "lightgcn", "micro", "micro:published-code")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run over four rankers and two seeds; (process, its folder, its cache)."""
    root = tmp_path_factory.mktemp("train")
    argv = [*BOUTIQUE, "--ranker", *RANKERS, "--seeds", "0", "7", "--output=out"]
    process = call("train_ranker", *argv, here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here", root / "cache"


def test_results_have_every_ranker_metric_and_seed(done):
    found = results.load(done[1] / "out")
    rows = {(row["variant"], row["metric"], row["seed"]): row for row in found.rows}
    for spec in RANKERS:
        for seed in (0, 7, None):
            for metric in ("recall@10", "recall@20", "ndcg@10", "ndcg@20", "ndcg_retrieved@20"):
                row = rows[spec, metric, seed]
                assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
                assert row["n"] == 60
    popularity = [rows["popularity", "recall@20", seed]["value"] for seed in (0, 7, None)]
    assert len(set(popularity)) == 1  # has no seed


def test_a_saved_ranker_gives_the_reported_numbers(done, monkeypatch):
    """Read back with data opened anew, in another process than the one that trained it."""
    monkeypatch.setenv("RECSIM_CACHE", str(done[2]))
    data = open_data("boutique", n_items=120, n_users=60)
    catalog = encode(data)
    found = results.load(done[1] / "out")
    for spec in RANKERS:
        folder = done[1] / "out" / f"{spec.replace(':', '-')}-seed7"
        ranker = type(make_ranker(spec)).load(folder, catalog, data.interactions)
        assert ranker.fingerprint == found.fingerprints[f"{spec} seed 7"]
        assert origin_of(folder) == Origin(7, dict(catalog.encoders))  # kept, not read from its name
        mean = evaluate(ranker, data.interactions).mean()
        for row in found.rows:
            if row["variant"] == spec and row["seed"] == 7:
                assert row["value"] == pytest.approx(mean[row["metric"]])


def test_what_is_printed_written_and_tracked(done):
    process, here, _ = done
    for word in (*RANKERS, "recall@20", "results.json"):
        assert word in process.stdout
    assert "Traceback" not in process.stderr
    assert "Warning" not in process.stderr
    names = {p.name for p in (here / "out").iterdir()}
    saved = {f"{spec.replace(':', '-')}-seed{seed}" for spec in RANKERS for seed in (0, 7)}
    assert names == {"results.json", "config.yaml", "rankers.png", "rankers.svg"} | saved
    assert {p.name for p in here.iterdir()} == {"out", "mlflow.db", "mlartifacts"}
    status, children = tracked(here / "mlflow.db")
    assert status == "FINISHED"
    assert set(children) == set(RANKERS)
    for spec, keys in children.items():
        assert {"recall_at_10", "ndcg_at_20_high", "seed_7/recall_at_20"} <= keys
        assert (
            spec == "popularity" or {"z_training/seed_0/loss", "z_training/seed_7/valid_recall_at_20"} <= keys
        )


def test_settings_are_searched_on_validation_and_every_trial_is_told(apart):
    small = ["--settings.epochs=1", "--seeds", "0", "3", "--encoders.text=words", "--encoders.image=none"]
    small += ["--data-settings.n_items=120", "--data-settings.n_users=60", "--output=out", "--quiet"]
    assert run(main, [*small, "--ranker", "lightgcn", "--trials=4"]) == 0
    found = results.load(apart / "out")
    trials = {row["metric"]: row for row in found.rows if row["metric"].endswith("valid_ndcg@20")}
    assert list(trials) == [f"trial_{number}_valid_ndcg@20" for number in range(4)]
    drawn = [json.loads(row["settings"]) for row in trials.values()]
    assert drawn[0] == {}
    assert all(set(one) == {"learning_rate", "reg_weight", "n_layers"} for one in drawn[1:])
    best = max(range(4), key=lambda number: list(trials.values())[number]["value"])
    assert found.verdicts["best of 4 trials (lightgcn)"].startswith(f"trial {best}: ")
    about = json.loads((apart / "out" / "lightgcn-seed3" / "config.json").read_text())
    assert {name: about["settings"][name] for name in drawn[best]} == drawn[best]
    assert about["settings"]["epochs"] == 1
    _, children = tracked(apart / "mlflow.db")
    assert {f"lightgcn trial {number}" for number in range(4)} <= set(children)
    assert {"z_training/loss", "valid_ndcg_at_20"} <= set(children["lightgcn trial 3"])


def test_initial_weights_and_users_differ_by_seed(done):
    found = results.load(done[1] / "out")
    for spec in RANKERS[1:]:
        assert found.fingerprints[f"{spec} seed 0"] != found.fingerprints[f"{spec} seed 7"]
    assert np.isfinite([row["value"] for row in found.rows]).all()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ranker", "micro", "ligthgcn"], "unknown ranker 'ligthgcn'. Did you mean 'lightgcn'?"),
        (["--ranker", "bpr", "--settings.knn_k", "3"], "unknown setting 'knn_k' of ranker bpr. Known: "),
        (
            ["--masked", "trian"],
            "each of --masked must be one of train, valid, got 'trian'. Did you mean 'train'?",
        ),
        (
            ["--settings.valid_metric", "Recall@30"],
            "must be one of Recall@10, Recall@20, NDCG@10, NDCG@20, got",
        ),
        (["--trials", "0"], "--trials must be 1 or more, got 0"),
        (["--data", "movielens"], "data 'movielens' needs its folder"),
    ],
    ids=lambda x: "=".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_told_with_what_to_do(argv, message, done, apart, capsys):
    shutil.copy(done[1] / "mlflow.db", apart)  # to set one up takes seconds
    small = ["--settings.epochs=1", "--seeds", "0", "--encoders.text=words"]
    small += [] if "--data" in argv else ["--data-settings.n_items=120", "--data-settings.n_users=20"]
    assert run(main, [*small, *argv, "--output=out", "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.out == ""
    assert not (apart / "out" / "results.json").exists()
