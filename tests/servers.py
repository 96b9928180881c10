"""Servers of a test's own, on free ports of this machine, gone when the test is."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534  # PostgreSQL refuses to run as root


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def mlflow_server(store: str, folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """``mlflow server`` on a store, its artifacts under ``folder``; gives its address."""
    files = ["--artifacts-destination", str(folder / "artifacts")]
    words = ["server", "--backend-store-uri", store, "--workers", "1", *files, *options]
    with _mlflow(words, folder, "health", environment) as address:
        yield address


@contextmanager
def model_server(model: str, store: str, folder: Path) -> Iterator[str]:
    """``mlflow models serve`` of a logged model of a store; gives its address."""
    words = ["models", "serve", "--model-uri", model, "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where it looks for uvicorn
    with _mlflow(words, folder, "ping", {"MLFLOW_TRACKING_URI": store, "PATH": path}) as address:
        yield address


@contextmanager
def _mlflow(words: list[str], folder: Path, health: str, environment: dict[str, str]) -> Iterator[str]:
    """A server of MLflow's on a free port, once it answers at ``health``."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", str(port)]
    quick = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    whole = {**os.environ, **quick}
    whole.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, env=whole | environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _until(lambda: _answers(f"{address}/{health}"), process, folder / "server.log")
            yield address
        finally:
            with suppress(ProcessLookupError):  # it died by itself
                os.killpg(process.pid, signal.SIGKILL)  # with its workers; nothing of it is kept
            process.wait(timeout=30)


@contextmanager
def postgres() -> Iterator[str]:
    """A new PostgreSQL with one empty database; gives its address. Skips where it is not installed."""
    found = [p for name in ("initdb", "postgres") if (p := _program(name))]
    if len(found) < 2:
        pytest.skip("no PostgreSQL (initdb, postgres) on PATH or in /usr/lib/postgresql")
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed (psycopg2-binary)")
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="recsim-pg-")), free_port()  # pytest's is closed to others
    if who:
        os.chown(folder, NOBODY, NOBODY)
    initdb, server = found
    make = [
        initdb,
        "-D",
        str(folder / "data"),
        "-U",
        "recsim",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "-N",
    ]
    log = folder / "log"
    try:
        subprocess.run(make, cwd=folder, check=True, capture_output=True, **who)
        options = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        start = [server, "-D", str(folder / "data"), *(word for option in options for word in ("-c", option))]
        with log.open("w") as output:
            process = subprocess.Popen(start, cwd=folder, stdout=output, stderr=output, **who)
        try:
            _until(lambda: "ready to accept connections" in log.read_text(), process, log)
            yield f"postgresql+psycopg2://recsim@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    return shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))), None)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _until(ready: Any, process: subprocess.Popen[bytes], log: Path, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.1)
