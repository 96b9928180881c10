"""Every command: --help is quick and whole, a mistyped option is told with a suggestion."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from real_data import ROOT

ACTIONS = {"data": ("check", "show", "convert"), "human_study": ("export", "score")}
LACKING = {  # a gallery, raters' files and a store are no data set; a page is no result to track
    "report": ("--data",),
    "identity": ("--data",),
    "human_study export": ("--tracking-uri",),
    "human_study score": ("--data",),
}
COMMANDS = [
    f"{command} {action}".strip()
    for command in sorted(p.stem for p in (ROOT / "recsim_gen").glob("[a-z]*.py"))
    for action in ACTIONS.get(command, ("",))
]


def call(command: str, *argv: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """The finished process and the CPU seconds it took (what else runs does not count)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", *f"recsim_gen.{command}".split(), *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_within_two_seconds(command, tmp_path):
    done, seconds = call(command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m recsim_gen.{command}")
    for option in ("--config", "--data", "--output", "--tracking-uri", "--quiet"):
        assert (option in done.stdout) == (option not in LACKING.get(command, ()))
    assert seconds < 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_option_is_told_and_starts_nothing(command, tmp_path):
    done, _ = call(command, "--outptu", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown option --outptu. Did you mean '--output'?" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "c.yaml").write_text("outptu: x\n")
    done, _ = call(command, "--config", "c.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "c.yaml: unknown key 'outptu'. Did you mean 'output'?" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["c.yaml"]


def test_the_settings_of_a_ranker_are_listed_within_two_seconds(tmp_path):
    done, seconds = call("validate_assumptions", "--ranker.help", "micro", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "  knn_k (a whole number; default: 10)\n" in done.stdout
    assert seconds < 2
    assert list(tmp_path.iterdir()) == []
