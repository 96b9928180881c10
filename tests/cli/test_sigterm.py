"""Ended by SIGTERM, as schedulers do: runs are closed as killed, and no temporary folder is left."""

import multiprocessing
import os
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

FORK = multiprocessing.get_context("fork")


def train(here: Path) -> None:
    """In a process of its own: a training that would take hours."""
    from recsim_gen.core.config import run
    from recsim_gen.train_ranker import main

    tempfile.tempdir = str(here / "tmp")
    argv = ["--data=ml-100k", "--encoders.text=none", "--ranker=bpr", "--ranker-settings.epochs=100000"]
    argv += [
        "--ranker-settings.stopping_step=100000",
        "--seeds=0",
        "--quiet",
        f"--output={here / 'runs' / 'x'}",
    ]
    os._exit(run(main, argv))


def statuses(here: Path) -> list[str]:
    with sqlite3.connect(here / "mlflow.db") as store:
        return [status for (status,) in store.execute("select status from runs where name != ''")]


@pytest.mark.recbole
def test_sigterm_ends_a_training_in_order(apart, empty_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{apart / 'mlflow.db'}")
    (apart / "mlflow.db").write_bytes(empty_store.read_bytes())
    (apart / "tmp").mkdir()
    process = FORK.Process(target=train, args=(apart,))
    process.start()
    deadline = time.monotonic() + 200
    while statuses(apart).count("RUNNING") < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert process.is_alive()
    time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143
    assert list((apart / "tmp").iterdir()) == []
    assert statuses(apart).count("KILLED") == 2  # the training, and its ranker's
    assert "RUNNING" not in statuses(apart)
