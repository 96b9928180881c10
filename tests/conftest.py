"""What tests in every folder share."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # the tests themselves are shared over the cores


def pytest_runtest_setup(item):
    if item.get_closest_marker("recbole") and find_spec("recbole") is None:
        pytest.skip("needs RecBole, or the ml-100k of its wheel")


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """An empty working directory and an empty cache of the test's own; gives the directory."""
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture(scope="session")
def new_store(tmp_path_factory):
    """An MLflow database made by a fresh process, and what that process said; it takes seconds, so once."""
    folder = tmp_path_factory.mktemp("store")
    code = "import sys, recsim_gen.core.tracking as t\nwith t.Tracker('c', {}, output=sys.argv[1]): pass"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", code, str(folder / "x")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return folder / "mlflow.db", done.stdout + done.stderr


@pytest.fixture(scope="session")
def empty_store(new_store):
    """That database, to be copied."""
    return new_store[0]
