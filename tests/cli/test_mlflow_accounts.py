"""A team's server as mlflow/ sets it up asks everybody who they are; commands say so before any work."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from command_line import call
from real_data import ROOT
from servers import mlflow_server, postgres

from recsim_gen.core.command_line.preflight import ACCOUNT, check_account
from recsim_gen.core.errors import SettingError
from recsim_gen.core.results import Results
from recsim_gen.core.tracking import Tracker, TrackingWarning

ADMIN, ANN, BOB = ("admin", "of-this-test-0"), ("ann", "of-this-test-1"), ("bob", "of-this-test-2")
SETTINGS = ROOT / "mlflow" / "basic_auth.ini"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Its address: PostgreSQL for runs and accounts, the settings of mlflow/, two accounts by the admin."""
    folder = tmp_path_factory.mktemp("accounts")
    with postgres() as store:
        text = SETTINGS.read_text(encoding="utf-8")
        own = "postgresql+psycopg2://mlflow@database:5432/mlflow"
        assert own in text
        (folder / "basic_auth.ini").write_text(text.replace(own, store))
        secrets = {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
        }
        with mlflow_server(store, folder, "--app-name", "basic-auth", **secrets) as address:
            for name, password in (ANN, BOB):
                made = asked(address, "users/create", ADMIN, {"username": name, "password": password})
                assert made[0] == 200
            yield address


def asked(address, what, account=None, body=None, api="2.0"):
    """Status and answer of MLflow's API; a GET without body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/api/{api}/mlflow/{what}", data)
    request.add_header("Content-Type", "application/json")
    if account is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(account).encode()).decode())
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.loads(response.read() or "{}")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sign_in(monkeypatch, account):
    for variable, value in zip(ACCOUNT, account, strict=True):
        monkeypatch.setenv(variable, value)


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in (*ACCOUNT, "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(variable, raising=False)


def tracked(address, folder):
    """An invocation as a command logs it."""
    results = Results("train_ranker", {}, {"data": "0" * 32})
    results.row(variant="micro", metric="recall@10", value=0.25)
    with Tracker("train_ranker", {}, output=folder, uri=address) as tracker:
        tracker.publish(results)
    return tracker


@pytest.mark.parametrize(
    "account", [None, (ANN[0], "guessed"), ("eve", ANN[1])], ids=["nobody", "wrong", "unknown"]
)
def test_who_has_no_account_neither_reads_nor_writes(server, account):
    assert asked(server, "experiments/search?max_results=5", account)[0] == 401
    assert asked(server, "experiments/create", account, {"name": "theirs"})[0] == 401
    names = asked(server, "experiments/search?max_results=50", ADMIN)[1]
    assert "theirs" not in json.dumps(names)


@pytest.mark.slow
def test_who_has_one_writes_to_their_own_and_reads_that_of_others(server, tmp_path, monkeypatch):
    sign_in(monkeypatch, ANN)
    run = tracked(server, tmp_path / "x").run
    sign_in(monkeypatch, BOB)
    status, found = asked(server, f"runs/get?run_id={run.id}", BOB)
    assert status == 200, found
    with pytest.warns(TrackingWarning, match="ask the experiment's owner or the administrator for EDIT"):
        tracked(server, tmp_path / "y")
    experiment = found["run"]["info"]["experiment_id"]
    edit = {
        "username": BOB[0],
        "resource_type": "experiment",
        "resource_id": experiment,
        "permission": "EDIT",
    }
    assert asked(server, "users/permissions/grant", ANN, edit, api="3.0")[0] == 200
    assert not tracked(server, tmp_path / "y").store.failed


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (None, "requires a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ((ANN[0], "guessed"), "refuses the user 'ann' with this password: see MLFLOW_TRACKING_USERNAME and"),
    ],
)
def test_a_command_says_so_before_any_work(server, tmp_path, monkeypatch, account, words):
    if account:
        sign_in(monkeypatch, account)
    done = call("train_ranker", f"--tracking-uri={server}", here=tmp_path / "here", cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: MLflow at {server} {words}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "cache").exists()


def test_an_account_a_file_of_mlflows_and_a_server_that_is_down_pass(server, tmp_path, monkeypatch):
    with pytest.raises(SettingError, match="requires a login"):
        check_account(server)
    check_account("http://127.0.0.1:9")
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[mlflow]\n")
    check_account(server)
    sign_in(monkeypatch, ANN)
    check_account(server)


@pytest.mark.slow
def test_without_the_administrators_password_it_does_not_start(tmp_path):
    text = SETTINGS.read_text(encoding="utf-8")
    assert "admin_password" not in text
    settings = tmp_path / "basic_auth.ini"
    settings.write_text(
        text.replace("postgresql+psycopg2://mlflow@database:5432/mlflow", "sqlite:///accounts.db")
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_AUTH")}
    environment |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--port", "0"]
    done = subprocess.run(
        [*command, "--backend-store-uri", "sqlite:///runs.db", "--workers", "1"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode != 0
    assert "MLFLOW_AUTH_ADMIN_PASSWORD" in done.stdout + done.stderr
