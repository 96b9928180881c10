"""Stores in folders of any name, and stores that two commands make at once."""

import multiprocessing
import shlex
import sqlite3
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_gen.core.tracking import Tracker, TrackingWarning
from recsim_gen.core.tracking_names import default_uri, sqlite_file, ui_command

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cc"]), min_size=1)
AWKWARD = ["a b", "c%20d", "e#f?g", "l'm\"ö"]


@settings(deadline=None)
@given(NAMES.filter(lambda name: name not in (".", "..")))
def test_the_address_of_a_store_is_that_of_its_file(name):
    path = sqlite_file(default_uri(f"/nowhere/{name}/out"))
    assert str(path) == f"/nowhere/{name}/mlflow.db"


@settings(deadline=None)
@given(NAMES.filter(lambda name: name not in (".", "..")))
def test_the_command_for_the_pages_survives_a_shell(name):
    uri = default_uri(f"/nowhere/{name}/out")
    assert shlex.split(ui_command(uri))[-3:] == ["ui", "--backend-store-uri", uri]


def test_settings_in_an_address_are_no_part_of_the_file():
    assert str(sqlite_file("sqlite:////x/mlflow.db?timeout=9")) == "/x/mlflow.db"
    assert sqlite_file("http://server") is None


def runs(path):
    with sqlite3.connect(path) as store:
        return store.execute("select status from runs").fetchall()


@pytest.mark.parametrize("name", AWKWARD)
def test_a_run_is_tracked_in_a_folder_of_any_name(tmp_path, monkeypatch, empty_store, name):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    (folder / "note.txt").write_text("x")
    before = len(runs(folder / "mlflow.db"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        with Tracker("other", {}, output=folder / "out") as tracker:
            tracker.run.log_file(folder / "note.txt")
            run_id = tracker.run.id
    assert len(runs(folder / "mlflow.db")) == before + 1
    assert [path.name for path in folder.rglob("note.txt")] == ["note.txt", "note.txt"]
    assert run_id in " ".join(map(str, (folder / "mlartifacts").rglob("*")))
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def open_store(output, started):
    """In a process of its own: 0 if the run was tracked without a word."""
    started.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        with Tracker("check", {}, output=output):
            pass


def at_once(folder, commands=2):
    """Exit codes of commands that find no store yet."""
    fork = multiprocessing.get_context("fork")
    started = fork.Barrier(commands)
    processes = [fork.Process(target=open_store, args=(folder / f"c{k}", started)) for k in range(commands)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def tracked_at_once(tmp_path, monkeypatch, times):
    import mlflow.tracking  # noqa: F401 - before the fork: once for all

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for k in range(times):
        (tmp_path / str(k)).mkdir()
        assert at_once(tmp_path / str(k)) == [0, 0]
        assert runs(tmp_path / str(k) / "mlflow.db") == [("FINISHED",)] * 2


def test_two_commands_make_one_store(tmp_path, monkeypatch):
    tracked_at_once(tmp_path, monkeypatch, 2)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_two_commands_make_one_store_fifty_times(tmp_path, monkeypatch):
    tracked_at_once(tmp_path, monkeypatch, 50)
