"""Every command: --help is quick and whole, a mistyped option is told with a suggestion."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from real_data import ROOT

import recsim_gen

ACTIONS = {"data": ("check", "show", "convert", "new"), "human_study": ("export", "score")}
LACKING = {  # a gallery, raters' files and a store are no data set; a page and an example are no results
    "data new": ("--data", "--tracking-uri"),
    "export": ("--tracking-uri",),
    "report": ("--data",),
    "identity": ("--data",),
    "human_study export": ("--tracking-uri",),
    "human_study score": ("--data",),
    "settings": ("--data", "--output", "--tracking-uri", "--quiet"),  # runs nothing
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


class TestOneProgram:
    """`recsim-gen COMMAND` beside `python -m recsim_gen.COMMAND`."""

    def call(self, *argv: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], float]:
        program = Path(sys.executable).with_name("recsim-gen")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([program, *argv], cwd=cwd, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def test_all_commands_are_listed_within_two_seconds(self, tmp_path):
        done, seconds = self.call(cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
        assert sorted({command.split()[0] for command in COMMANDS}) == [
            x for x in listed if x != "recsim-gen"
        ]
        assert seconds < 2

    def test_its_version_is_the_package_s(self, tmp_path):
        assert self.call("--version", cwd=tmp_path)[0].stdout == f"recsim-gen {recsim_gen.__version__}\n"

    @pytest.mark.parametrize(("written", "module"), [("train-ranker", "train_ranker"), ("data", "data")])
    def test_a_command_is_the_module_of_its_name(self, written, module, tmp_path):
        done, _ = self.call(written, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert done.stdout == call(module, "--help", cwd=tmp_path)[0].stdout

    def test_errors_of_a_command_keep_their_exit_code(self, tmp_path):
        done, _ = self.call("judge", "--seeds", "x", cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert "--seeds" in done.stderr

    def test_an_unknown_command_is_told_with_a_suggestion(self, tmp_path):
        done, _ = self.call("judeg", cwd=tmp_path)
        assert done.returncode == 2
        assert "got 'judeg'. Did you mean 'judge'?" in done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--output" not in LACKING.get(c, ())])
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
