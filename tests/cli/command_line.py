"""Commands as the reader runs them: a process of its own, its own cache, an empty working directory."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

BOUTIQUE = [
    "--data=boutique",
    "--data-settings.n_items=120",
    "--data-settings.n_users=60",
    "--ranker-settings.epochs=3",
    "--ranker-settings.embedding_size=16",
]


def start(command: str, *argv: str, here: Path, cache: Path) -> subprocess.Popen[str]:
    """The command, running."""
    here.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "RECSIM_CACHE": str(cache), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [sys.executable, "-m", f"recsim_gen.{command}", *argv],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(command: str, *argv: str, here: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command, done."""
    process = start(command, *argv, here=here, cache=cache)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def tracked(database: Path, command: str = "%") -> tuple[str, dict[str, set[str]]]:
    """Status of the command's only parent run and, for each of its children, the names of its metrics."""
    with sqlite3.connect(database) as connection:
        parent = connection.execute(
            "select run_uuid, status from runs where run_uuid not in "
            "(select run_uuid from tags where key = 'mlflow.parentRunId') and run_uuid in "
            "(select run_uuid from tags where key = 'mlflow.source.name' and value like ?)",
            (f"recsim_gen.{command}",),
        ).fetchall()
        assert len(parent) == 1
        children = connection.execute(
            "select r.run_uuid, r.name from runs r join tags t on r.run_uuid = t.run_uuid "
            "where t.key = 'mlflow.parentRunId' and t.value = ?",
            (parent[0][0],),
        ).fetchall()
        keys = {
            name: {
                k for (k,) in connection.execute("select key from latest_metrics where run_uuid = ?", (run,))
            }
            for run, name in children
        }
    return parent[0][1], keys
