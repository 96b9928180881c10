"""Commands of several actions: how they are chosen, called and refused, and the codes they end with."""

import pytest

from recsim_gen.core.config import run

CALLS: list[tuple[str, dict]] = []


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()
    return CALLS


def check(data: str = "boutique", quiet: bool = False) -> int:
    """Say whether.

    Parameters
    ----------
    data
        What.
    quiet
        Say less.
    """
    CALLS.append(("check", dict(locals())))
    return 1 if data == "broken" else 0


def convert(from_: str = "boutique", to: str = "unified") -> None:
    """Write.

    Parameters
    ----------
    from_
        What.
    to
        Where.
    """
    CALLS.append(("convert", dict(locals())))


ACTIONS = {"check": check, "convert": convert}


@pytest.mark.parametrize(
    ("argv", "called"),
    [
        (["check"], ("check", {"data": "boutique", "quiet": False})),
        (["check", "ml:a/b", "--quiet"], ("check", {"data": "ml:a/b", "quiet": True})),
        (["check", "--data", "x"], ("check", {"data": "x", "quiet": False})),
        (["convert", "--from", "x", "--to", "y"], ("convert", {"from_": "x", "to": "y"})),
        (["convert", "x", "--to=y"], ("convert", {"from_": "x", "to": "y"})),
    ],
)
def test_the_first_word_is_the_action_and_the_next_its_first_option(argv, called):
    assert run(ACTIONS, argv) == 0
    assert [called] == CALLS


def test_a_word_of_python_is_an_option_in_files_too(tmp_path):
    (tmp_path / "c.yaml").write_text("from: x\nto: y\n")
    assert run(ACTIONS, ["convert", "--config", str(tmp_path / "c.yaml"), "--to", "z"]) == 0
    assert CALLS == [("convert", {"from_": "x", "to": "z"})]


def test_an_action_ends_with_the_code_that_it_returns():
    assert run(ACTIONS, ["check", "broken"]) == 1
    assert run(check, ["--data", "broken"]) == 1
    assert run(ACTIONS, ["check", "whole"]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "an action is wanted first, got none. Known: check, convert."),
        (["chekc"], "an action is wanted first, got 'chekc'. Did you mean 'check'? Known: check, convert."),
        (["--quiet"], "an action is wanted first, got '--quiet'. Known: check, convert."),
        (["convert", "--form", "x"], "unknown option --form. Did you mean '--from'?"),
        (["check", "--to", "x"], "unknown option --to."),
        (["check", "a", "b"], "unrecognized arguments: b"),
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
