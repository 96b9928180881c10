"""What is told before any work: doubles, seeds, devices, places that cannot be written, used folders."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsim_gen.core.config import run
from recsim_gen.core.options import DeviceOptions, RunOptions
from recsim_gen.core.specs import RankerSpec


@dataclass(frozen=True, kw_only=True)
class Options(DeviceOptions, RunOptions):
    """Options of a test.

    Parameters
    ----------
    ranker
        Several.
    seeds
        Several.
    seed
        One.
    """

    ranker: tuple[RankerSpec, ...] = (RankerSpec("bpr"),)
    seeds: tuple[int, ...] = (0,)
    seed: int = 0
    output: Path = Path("runs/test")


worked = []


def main(options: Options) -> None:
    """Work."""
    worked.append(options)


@pytest.fixture(autouse=True)
def nothing_yet(apart):
    worked.clear()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--seeds", "0", "0"], "--seeds: give each value once, got 0 twice"),
        (["--seeds", "1", "-1"], "--seeds must be 0 or more, got -1"),
        (["--seed", "-3"], "--seed must be 0 or more, got -3"),
        (["--ranker", "bpr", "micro", "bpr"], "--ranker: give each value once, got bpr twice"),
        (["--device", "cuda:99"], "--device cuda:99: torch finds"),
        (["--output", "file/below"], "--output must be a folder to write in, got file/below"),
        (["--output", "file"], "--output must be a folder to write in, got file"),
    ],
)
def test_a_mistake_is_told_before_any_work(apart, capsys, argv, told):
    (apart / "file").write_text("x")
    assert run(main, argv) == 2
    assert told in capsys.readouterr().err
    assert not worked


def test_no_value_where_some_are_usual_is_told(apart, capsys):
    (apart / "c.yaml").write_text("seeds: []\n")
    assert run(main, ["--config", "c.yaml"]) == 2
    assert "--seeds takes one value or more, got none" in capsys.readouterr().err
    assert not worked


def test_a_cache_that_cannot_be_written_is_told(apart, capsys, monkeypatch):
    (apart / "file").write_text("x")
    monkeypatch.setenv("RECSIM_CACHE", str(apart / "file" / "cache"))
    assert run(main, []) == 2
    assert "the cache must be a folder to write in" in capsys.readouterr().err
    assert not worked


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_told(apart, capsys):
    (apart / "theirs").mkdir(mode=0o500)
    assert run(main, ["--output", "theirs/x"]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_nothing_is_left_where_nothing_is_wrong(apart):
    assert run(main, ["--ranker", "bpr", "micro", "micro:published-code", "--seeds", "0", "1"]) == 0
    assert worked
    assert not list(apart.rglob("*"))


def test_a_second_run_into_a_used_folder_is_told(apart, capsys):
    (apart / "used").mkdir()
    (apart / "used" / "results.json").write_text('{"command": "train_ranker"}')
    assert run(main, ["--output", "used"]) == 0
    assert capsys.readouterr().err == "note: used holds results of train_ranker, which this run replaces\n"


def test_a_terminal_of_few_letters_breaks_nothing(monkeypatch, tmp_path):
    def speak(options: Options) -> None:
        print("ΔR ± 1 千と千尋")

    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert run(speak, []) == 0
    assert (tmp_path / "out").read_text() == "?R ? 1 ????\n"


def test_sigterm_closes_what_is_open(capsys):
    closed = []

    def wait(options: Options) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            closed.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert run(wait, []) == 143
    assert closed
    assert signal.getsignal(signal.SIGTERM) is before
    assert "ended by SIGTERM" in capsys.readouterr().err
