"""Whatever happens to the store, the numbers are in results.json and the message says what to do."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from recsim_gen.core import results as results_of
from recsim_gen.core.report import report
from recsim_gen.core.results import Results
from recsim_gen.core.tracking import Tracker, TrackingWarning
from recsim_gen.core.tracking_names import remedy


@pytest.fixture
def root(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def some_results() -> Results:
    results = Results("c", {}, {"data": "0" * 32})
    for variant in ("ret", "full"):
        results.row(variant=variant, metric="recall@10", value=0.25)
    return results


def told(root, tracker: Tracker, capsys, during=lambda: None) -> str:
    """The one warning of an invocation; its results must be complete, and printed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with tracker:
            during()
            report(some_results(), tracker, root / "x")
    assert results_of.load(root / "x").rows == some_results().rows
    assert "| ret " in capsys.readouterr().out
    (warning,) = (w for w in caught if w.category is TrackingWarning)
    assert "results.json is complete" in str(warning.message)
    return str(warning.message)


def test_a_server_that_cannot_be_reached(root, capsys):
    text = told(root, Tracker("c", {}, output=root / "x", uri="http://127.0.0.1:9"), capsys)
    assert "is the server up" in text


@pytest.fixture
def impatient():
    """MLflow waits 20 seconds for a locked database; here a tenth of one."""

    def shorter(connection, cursor, statement, parameters, context, executemany):
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), parameters

    event.listen(Engine, "before_cursor_execute", shorter, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorter)


def test_a_database_that_another_program_holds(root, capsys, impatient):
    other = sqlite3.connect(root / "mlflow.db")
    other.execute("begin exclusive")
    text = told(root, Tracker("c", {}, output=root / "x"), capsys)
    other.close()
    assert "database is locked) Another program holds the database" in text


def test_a_traceback_of_mlflow_is_not_shown(root):
    """The logger that writes one for each error of the database."""
    Tracker("c", {}, output=root / "x")
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.ERROR)


def test_an_experiment_that_was_deleted_before_or_during_the_run(root, capsys):
    with Tracker("c", {}, output=root / "x") as tracker:
        experiment = tracker.store.client.get_run(tracker.run.id).info.experiment_id
    command = f"mlflow experiments restore --experiment-id {experiment}"
    delete = tracker.store.client.delete_experiment
    text = told(root, Tracker("c", {}, output=root / "x"), capsys, lambda: delete(experiment))
    assert "mlflow experiments restore, if it went with its experiment" in text
    assert command in told(root, Tracker("c", {}, output=root / "x"), capsys)
    tracker.store.client.restore_experiment(experiment)
    with Tracker("c", {}, output=root / "x") as again:
        report(some_results(), again, root / "x")
    assert not again.store.failed


def test_a_run_that_was_deleted(root, capsys):
    tracker = Tracker("c", {}, output=root / "x")
    text = told(root, tracker, capsys, lambda: tracker.store.client.delete_run(tracker.run.id))
    assert f"mlflow runs restore --run-id {tracker.run.id}" in text


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_tracking_failures import some_results
from recsim_gen.core.errors import RecsimError
from recsim_gen.core.report import report
from recsim_gen.core.tracking import Tracker
root = Path(sys.argv[1])
try:
    with Tracker("c", {}, output=root / "x") as tracker:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
        report(some_results(), tracker, root / "x")
except RecsimError as error:
    sys.stderr.write(f"error: {error}")
"""


def on_a_full_disk(root, largest: int) -> subprocess.CompletedProcess[str]:
    """A process whose files may not grow beyond a size: writing fails as on a full disk."""
    command = [sys.executable, "-c", FULL, str(root), str(Path(__file__).parent), str(largest)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_disk_that_is_full_for_the_store(root):
    done = on_a_full_disk(root, largest=50_000)
    assert results_of.load(root / "x").rows == some_results().rows
    assert "| ret " in done.stdout
    assert "results.json is complete" in done.stderr
    assert "The disk is full: free some space" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_is_full_for_results_too_leaves_the_table_on_the_screen(root):
    old = some_results()
    old.note("of an earlier run")
    old.write(root / "x")
    done = on_a_full_disk(root, largest=100)
    assert "| ret " in done.stdout
    assert "error: --output" in done.stderr
    assert "free some space" in done.stderr
    assert results_of.load(root / "x").notes == ["of an earlier run"]  # whole, not half a new one
    assert {p.name for p in (root / "x").iterdir()} == {"results.json", "config.yaml"}


def test_a_figure_that_cannot_be_drawn_costs_no_number(root, capsys):
    def draw():
        raise OSError(28, "No space left on device", "figure.png")

    with Tracker("c", {}, output=root / "x") as tracker, pytest.warns(UserWarning, match="No space left"):
        report(some_results(), tracker, root / "x", draw=draw)
    assert results_of.load(root / "x").rows == some_results().rows
    assert "| ret " in capsys.readouterr().out
    assert tracker.store.client.get_run(tracker.child("ret").id).data.metrics["recall_at_10"] == 0.25


@pytest.mark.parametrize(
    "problem", ["disk I/O error", "[Errno 27] File too large", "database or disk is full"]
)
def test_every_way_to_say_that_a_disk_is_full(problem):
    assert remedy(f"(sqlite3.OperationalError) {problem}", "sqlite:///x").startswith("The disk is full")


def test_the_machine_is_watched(root, monkeypatch):
    """CPU and memory of the machine are metrics of the parent run; an environment variable ends it."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with Tracker("c", {}, output=root / "x") as tracker:
        end = time.monotonic() + 20
        while not (found := _system(tracker)) and time.monotonic() < end:
            time.sleep(0.05)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= found
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with Tracker("c", {}, output=root / "x") as tracker:
        time.sleep(0.3)
    assert _system(tracker) == set()


def _system(tracker: Tracker) -> set[str]:
    metrics = tracker.store.client.get_run(tracker.run.id).data.metrics
    return {name for name in metrics if name.startswith("system/")}
