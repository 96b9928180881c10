"""Runs are kept in a real SQLite store, read back by MLflow's own client; failures cost no result."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from recsim_gen.core.results import Results
from recsim_gen.core.table import table
from recsim_gen.core.tracking import Tracker, TrackingWarning
from recsim_gen.core.tracking_names import default_uri, metric_key, ui_command, whole_lines

VARIANTS = ("ret", "exp_ret", "full")
CONFIG = {"data": "boutique", "settings": {"epochs": 3, "sizes": [1, 2]}, "note": "x" * 9000}


@pytest.fixture
def root(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def some_results() -> Results:
    results = Results("validate_assumptions", CONFIG, {"data": "0123456789abcdef" * 2})
    for i, variant in enumerate(VARIANTS):
        for metric in ("recall@10", "ndcg@10"):
            for seed in (0, 1):
                results.row(variant=variant, metric=metric, seed=seed, value=i + seed)
            results.row(variant=variant, metric=metric, value=i + 0.5, low=float(i), high=i + 1.0, n=9)
    results.row(variant="ret", metric="recall@10_minus_full", value=-2.0)
    results.verdict("A1", "holds")
    return results


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, empty_store):
    """One invocation, as a command makes it; gives client, parent run and children by name."""
    root = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_store, root / "mlflow.db")
    results, output = some_results(), root / "validate"
    frame = pd.DataFrame({"user": [0, 1], "item": [3, 4]})
    with Tracker("validate_assumptions", CONFIG, output=output, uri=default_uri(output)) as tracker:
        tracker.run.log_dataset("boutique", frame, results.fingerprints["data"], context="training")
        for epoch in range(3):
            tracker.run.log_epoch(epoch, {"recall@20": epoch / 10, "loss": 1.0}, prefix="seed_0/")
        tracker.child("ret").log_table("episodes", frame)
        tracker.publish(results, [results.write(output)])
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=default_uri(output))
    experiment = client.get_experiment_by_name("validate_assumptions").experiment_id
    runs = client.search_runs([experiment])
    children = {r.data.tags["mlflow.runName"]: r for r in runs if "mlflow.parentRunId" in r.data.tags}
    (parent,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    return client, parent, children


def test_a_parent_and_a_child_per_variant(tracked):
    _, parent, children = tracked
    assert set(children) == set(VARIANTS)
    assert {c.data.tags["mlflow.parentRunId"] for c in children.values()} == {parent.info.run_id}
    assert {r.info.status for r in (parent, *children.values())} == {"FINISHED"}


def test_children_have_equal_keys_so_that_the_comparison_page_lines_them_up(tracked):
    _, _, children = tracked
    keys = [set(c.data.metrics) for c in children.values()]
    assert keys[0] == keys[1] == keys[2]
    assert {"recall_at_10", "ndcg_at_10", "seed_0/recall_at_10", "recall_at_10_low"} <= keys[0]
    assert children["exp_ret"].data.metrics["recall_at_10"] == 1.5
    assert children["exp_ret"].data.metrics["seed_1/recall_at_10"] == 2
    assert children["exp_ret"].data.metrics["recall_at_10_high"] == 2
    assert children["full"].data.params["variant"] == "full"


def test_parent_keeps_settings_provenance_curves_and_files(tracked):
    client, parent, _ = tracked
    assert parent.data.params["settings.epochs"] == "3"
    assert parent.data.params["settings.sizes"] == "[1, 2]"
    assert parent.data.params["note"] == "x" * 6000
    assert parent.data.tags["fingerprint.data"] == "0123456789abcdef" * 2
    assert parent.data.tags["version.numpy"] == np.__version__
    history = client.get_metric_history(parent.info.run_id, "z_training/seed_0/recall_at_20")
    assert [(m.step, m.value) for m in history] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} == {"results.json", "rows.json"}
    rows = json.loads(Path(client.download_artifacts(parent.info.run_id, "rows.json")).read_text())
    assert len(rows["data"]) == len(some_results().rows)
    path = client.download_artifacts(parent.info.run_id, "results.json")
    assert json.loads(Path(path).read_text())["verdicts"] == {"A1": "holds"}


def test_description_of_the_parent_holds_the_table_and_the_link_to_the_comparison(tracked):
    _, parent, children = tracked
    text = parent.data.tags["mlflow.note.content"]
    assert table(some_results(), metrics=["recall@10", "ndcg@10"]) in text
    assert "- A1: holds" in text
    link = unquote(text.partition("](")[2].partition(")")[0])
    assert link.startswith("#/compare-runs?runs=[")
    assert all(c.info.run_id in link for c in children.values())
    assert link.endswith(f'&experiments=["{parent.info.experiment_id}"]')


def test_a_description_that_is_too_long_ends_with_a_whole_line():
    text = "\n".join(f"| {row} | 0.1 |" for row in range(900))
    cut = whole_lines(text, 8000)
    assert len(cut) <= 8000
    lines, rest = cut.split("\n\n")
    assert text.startswith(lines + "\n")
    assert rest == "(more in results.json)"
    assert whole_lines(text[:8000], 8000) == text[:8000]


def test_data_is_a_dataset_input_named_by_our_fingerprint(tracked):
    _, parent, _ = tracked
    (data,) = parent.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("boutique", "0123456789abcdef" * 2)
    assert {t.key: t.value for t in data.tags} == {"mlflow.data.context": "training"}


def test_rows_are_a_table(tracked):
    client, _, children = tracked
    path = client.download_artifacts(children["ret"].info.run_id, "episodes.json")
    assert json.loads(Path(path).read_text()) == {"columns": ["user", "item"], "data": [[0, 3], [1, 4]]}


def test_artifacts_lie_beside_the_database(tracked):
    _, parent, _ = tracked
    store = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert store.parts[-4:-2] == ("mlartifacts", "validate_assumptions")
    assert (store / "results.json").exists()


def test_epochs_are_sent_together(root, monkeypatch):
    calls = []
    with Tracker("train_ranker", {}, output=root / "x") as tracker:
        real = tracker.store.client.log_batch
        monkeypatch.setattr(
            tracker.store.client, "log_batch", lambda *a, **k: calls.append(k) or real(*a, **k)
        )
        for epoch in range(50):
            tracker.run.log_epoch(epoch, {"loss": 1.0, "recall@10": 0.1, "ndcg@10": 0.1})
    assert sum(len(call["metrics"]) for call in calls) == 150
    assert len(calls) == 1


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_is_marked_and_breaks_all_the_same(root, error, status):
    tracker = Tracker("c", {}, output=root / "x")

    def broken() -> None:
        with tracker:
            tracker.child("a").log_epoch(0, {"loss": 2.0})
            raise error

    with pytest.raises(error):
        broken()
    for run in (tracker.run, tracker.child("a")):
        assert tracker.store.client.get_run(run.id).info.status == status
    assert tracker.store.client.get_run(tracker.child("a").id).data.metrics == {"z_training/loss": 2.0}


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db", "nonsense://x"])
def test_a_dead_store_costs_one_warning_and_no_result(tmp_path, uri):
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Tracker("c", CONFIG, output=tmp_path / "x", uri=uri) as tracker:
            tracker.child("ret").log_epoch(0, {"loss": 1.0})
            path = some_results().write(tmp_path / "x")
            tracker.publish(some_results(), [path])
    ours = [w for w in caught if w.category is TrackingWarning]
    assert len(ours) == 1
    assert uri in str(ours[0].message)
    assert "--tracking-uri" in str(ours[0].message)
    assert path.exists()
    assert time.monotonic() - start < 20


def test_a_store_that_dies_half_way_costs_one_warning(root):
    with Tracker("c", {}, output=root / "x") as tracker:
        tracker.child("a").log_metrics({"recall@10": 0.1})
        with pytest.warns(TrackingWarning, match="no such file"):
            tracker.run.log_file(root / "no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tracker.child("b").log_metrics({"recall@10": 0.1})


def test_option_wins_over_environment_over_default(root, monkeypatch):
    assert Tracker("c", {}, output=root / "x").uri == f"sqlite:///{root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert Tracker("c", {}, output=root / "x").uri == "http://server"
    assert Tracker("c", {}, output=root / "x", uri="http://other").uri == "http://other"


def test_page_is_that_of_the_run(root):
    with Tracker("c", {}, output=root / "x") as tracker:
        experiment = tracker.store.client.get_run(tracker.run.id).info.experiment_id
        assert tracker.page == f"http://127.0.0.1:5000/#/experiments/{experiment}/runs/{tracker.run.id}"


def test_keys_are_what_mlflow_takes():
    assert metric_key("recall@10") == "recall_at_10"
    assert metric_key("clip(a, b)") == "clip_a_ b_"


def test_ui_command_names_the_file_or_the_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ui_command(default_uri("runs/x")).endswith(
        "mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"
    )
    assert ui_command("http://server") == "http://server"


def test_a_new_database_keeps_the_terminal_clean(new_store):
    path, said = new_store
    assert path.exists()
    assert said == ""


def test_a_folder_that_hides_mlflow_is_named(tmp_path):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text("")
    code = "from recsim_gen.core.tracking import Tracker; Tracker('c', {}, output='x')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert str(tmp_path / "mlflow" / "__init__.py") in done.stderr
    assert "delete any __init__.py" in done.stderr
