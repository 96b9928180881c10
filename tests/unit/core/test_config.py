"""Running a command: exit codes, messages, quiet, several processes."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass

import pytest

from recsim_gen.core.config import run
from recsim_gen.core.errors import DataError, RecsimWarning
from recsim_gen.core.progress import bar, is_quiet


@dataclass(frozen=True)
class Options:
    """Options.

    Parameters
    ----------
    quiet
        Say less.
    """

    quiet: bool = False


def test_exit_codes_and_messages(capsys):
    def bad_data(options: Options) -> None:
        """Fail."""
        raise DataError("rating must be a number, got 'x'", file="r.csv", row=3, remedy="Fix it")

    def stopped(options: Options) -> None:
        """Be interrupted."""
        raise KeyboardInterrupt

    def defect(options: Options) -> None:
        """Break."""
        raise ZeroDivisionError

    assert run(bad_data, []) == 2
    err = capsys.readouterr().err
    assert err == "error: r.csv, row 3: rating must be a number, got 'x'. Fix it\n"
    assert run(bad_data, ["--quit"]) == 2
    assert "Did you mean '--quiet'?" in capsys.readouterr().err
    assert run(stopped, []) == 130
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        run(defect, [])


def test_warnings_of_libraries_reach_nobody_and_ours_do(capsys, monkeypatch):
    def command(options: Options) -> None:
        """Warn."""
        for kind in (FutureWarning, UserWarning, RuntimeWarning):
            warnings.warn("for developers", kind, stacklevel=1)
        warnings.warn("the disk is full", RecsimWarning, stacklevel=1)

    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings():  # as Python shows them where no test watches
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: sys.stderr.write(f"{message}\n"))
        assert run(command, []) == 0
        assert capsys.readouterr().err == "the disk is full\n"
        monkeypatch.setattr(sys, "warnoptions", ["default"])
        warnings.simplefilter("always")
        assert run(command, []) == 0
    assert capsys.readouterr().err.count("for developers") == 3


def test_quiet_holds_inside_the_command_and_only_there():
    seen = []

    def command(options: Options) -> None:
        """Look."""
        seen.append((is_quiet(), bar(range(3), "work").disable))

    assert run(command, ["--quiet"]) == 0
    assert seen == [(True, True)]
    assert not is_quiet()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_is_not_shared_is_done_by_the_first_process_which_thinks_it_is_alone(rank, monkeypatch):
    done = []

    def work(options: Options) -> None:
        """Do something."""
        done.append(os.environ.get("WORLD_SIZE"))

    for name, value in (("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)):
        monkeypatch.setenv(name, value)
    assert run(work, [], shared=True) == 0
    assert run(work, []) == 0
    assert done == (["2", None] if rank == "0" else ["2"])
