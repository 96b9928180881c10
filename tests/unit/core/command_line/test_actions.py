"""Commands of several actions: how they are chosen, called and refused, and the codes they end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from recsim_gen.core.config import run

CALLS: list[Any] = []


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()
    return CALLS


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Options of both.

    Parameters
    ----------
    quiet
        Say less.
    """

    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Shared):
    """Options of check.

    Parameters
    ----------
    data
        What.
    """

    data: str = "boutique"


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Options of convert.

    Parameters
    ----------
    from_
        What.
    to
        Where.
    """

    from_: str = "boutique"
    to: str = "unified"


def check(options: CheckOptions) -> int:
    """Say whether."""
    CALLS.append(options)
    return 1 if options.data == "broken" else 0


def convert(options: ConvertOptions) -> None:
    """Write."""
    CALLS.append(options)


ACTIONS = {"check": check, "convert": convert}


@pytest.mark.parametrize(
    ("argv", "called"),
    [
        (["check"], CheckOptions()),
        (["check", "ml:a/b", "--quiet"], CheckOptions(data="ml:a/b", quiet=True)),
        (["check", "--data", "x"], CheckOptions(data="x")),
        (["convert", "--from", "x", "--to", "y"], ConvertOptions(from_="x", to="y")),
        (["convert", "x", "--to=y"], ConvertOptions(from_="x", to="y")),
    ],
)
def test_the_first_word_is_the_action_and_the_next_its_first_option(argv, called):
    assert run(ACTIONS, argv) == 0
    assert [called] == CALLS


def test_a_word_of_python_is_an_option_in_files_too(tmp_path):
    (tmp_path / "c.yaml").write_text("from: x\nto: y\n")
    assert run(ACTIONS, ["convert", "--config", str(tmp_path / "c.yaml"), "--to", "z"]) == 0
    assert [ConvertOptions(from_="x", to="z")] == CALLS


def test_an_action_ends_with_the_code_that_it_returns():
    assert run(ACTIONS, ["check", "broken"]) == 1
    assert run(check, ["--data", "broken"]) == 1
    assert run(ACTIONS, ["check", "whole"]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the first word must be an action, got none. Known: check, convert."),
        (
            ["chekc"],
            "the first word must be an action, got 'chekc'. Did you mean 'check'? Known: check, convert.",
        ),
        (["--quiet"], "the first word must be an action, got '--quiet'. Known: check, convert."),
        (["convert", "--form", "x"], "unknown option --form. Did you mean '--from'?"),
        (["check", "--to", "x"], "unknown option --to."),
        (["check", "a", "b"], "--data takes one value, got a b"),
    ],
)
def test_what_is_no_action_or_option_suggests_and_calls_nothing(argv, message, capsys):
    assert run(ACTIONS, argv) == 2
    assert message in capsys.readouterr().err
    assert CALLS == []


def test_help_lists_the_actions_and_each_lists_its_options(capsys):
    with pytest.raises(SystemExit) as ended:
        run(ACTIONS, ["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: python -m {__name__} ACTION")
    assert "check    Say whether.\nconvert  Write.\n" in out
    with pytest.raises(SystemExit):
        run(ACTIONS, ["convert", "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: python -m {__name__} convert")
    assert "--from" in out
