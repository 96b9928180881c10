"""Options of a command: precedence, mistakes, exit codes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from recsim_gen.core.config import make_parser, parse, run
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar, is_quiet


@dataclass
class Model:
    """A nested config.

    Parameters
    ----------
    k:
        Neighbours.
    rate:
        Learning rate.
    """

    k: int = 10
    rate: float = 0.5


MODEL = Model()


def main(
    data: str = "boutique",
    seeds: tuple[int, ...] = (0, 1, 2),
    settings: dict[str, Any] | None = None,
    model: Model = MODEL,
    protocol: Literal["fold-in", "retrain"] = "fold-in",
    output: Path = Path("runs/x"),
    tracking_uri: str | None = None,
    verify: bool = True,
    quiet: bool = False,
) -> None:
    """Do something.

    Parameters
    ----------
    data
        What to run on.
    seeds
        One run for each.
    settings
        Settings of the ranker.
    model
        Settings of the model.
    protocol
        How new users are scored.
    output
        Where results go.
    tracking_uri
        Where MLflow keeps runs.
    verify
        Check against the slow reference.
    quiet
        Print the table only.
    """


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "data: ml-100k\nseeds: [7]\nsettings: {epochs: 3, rate: 0.1}\nmodel: {k: 4}\ntracking_uri: here\n"
    )
    return str(path)


def test_defaults_are_those_of_the_signature():
    values = parse(main, [])
    assert values["data"] == "boutique"
    assert values["seeds"] == (0, 1, 2)
    assert values["settings"] is None
    assert values["model"] == Model()
    assert values["output"] == Path("runs/x")
    assert (values["verify"], values["quiet"], values["tracking_uri"]) == (True, False, None)


def test_types_come_from_the_signature():
    argv = "--seeds 4 5 --output a/b --tracking-uri sqlite:///x.db --no-verify --quiet --model.k 3 --data 12"
    values = parse(main, argv.split())
    assert values["seeds"] == (4, 5)
    assert values["output"] == Path("a/b")
    assert values["tracking_uri"] == "sqlite:///x.db"
    assert (values["verify"], values["quiet"]) == (False, True)
    assert values["model"] == Model(k=3)
    assert values["data"] == "12"


def test_file_wins_over_defaults(file):
    values = parse(main, ["--config", file])
    assert values["data"] == "ml-100k"
    assert values["seeds"] == (7,)
    assert values["settings"] == {"epochs": 3, "rate": 0.1}
    assert values["model"] == Model(k=4)
    assert values["tracking_uri"] == "here"


@pytest.mark.parametrize("last", [True, False], ids=["file first", "file last"])
def test_command_line_wins_over_file_wherever_it_stands(file, last):
    options = ["--settings.epochs", "50", "--model.rate", "0.2", "--data", "boutique"]
    argv = ["--config", file, *options] if last else [*options, f"--config={file}"]
    values = parse(main, argv)
    assert values["settings"] == {"epochs": 50, "rate": 0.1}
    assert values["model"] == Model(k=4, rate=0.2)
    assert values["data"] == "boutique"
    assert values["seeds"] == (7,)


def test_free_settings_are_read_as_yaml():
    argv = [
        "--settings.epochs",
        "50",
        "--settings.rate",
        "1e-3",
        "--settings.sizes=[1, 2]",
        "--settings.on",
        "false",
    ]
    assert parse(main, argv)["settings"] == {"epochs": 50, "rate": 1e-3, "sizes": [1, 2], "on": False}


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["--dta", "x"], ["--dta", "Did you mean '--data'?"]),
        (["--tracking_ur", "x"], ["--tracking_ur", "Did you mean '--tracking-uri'?"]),
        (["--model.kk", "3"], ["--model.kk", "Did you mean '--model.k'?"]),
        (["--see", "3"], ["--see"]),  # no abbreviations: a later option could change their meaning
        (["--seeds", "a"], ["--seeds", "int", "a"]),
        (["--protocol", "fold"], ["--protocol", "fold-in", "retrain", "fold"]),
        (["--config"], ["--config needs", "got none"]),
        (["--config", "nowhere.yaml"], ["--config", "nowhere.yaml"]),
        (["more"], ["more"]),
    ],
)
def test_mistakes_on_the_command_line_say_what_was_meant(argv, wanted):
    with pytest.raises(SettingError) as error:
        parse(main, argv)
    for text in wanted:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("dta: x", ["unknown key 'dta'", "Did you mean 'data'?"]),
        ("model: {kk: 3}", ["unknown key 'kk' of model", "Did you mean 'k'?"]),
        ("seeds: [a]", ["--seeds", "int"]),
        ("data: [", ["c.yaml", "parsing"]),
    ],
)
def test_mistakes_in_the_file_say_what_was_meant(tmp_path, content, wanted):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(SettingError) as error:
        parse(main, ["--config", str(path)])
    for text in wanted:
        assert text in str(error.value)


def test_exit_codes_and_messages(capsys):
    def bad_data(quiet: bool = False) -> None:
        """Fail.

        Parameters
        ----------
        quiet
            Say less.
        """
        raise DataError("rating must be a number, got 'x'", file="r.csv", row=3, remedy="Fix it")

    def stopped() -> None:
        """Be interrupted."""
        raise KeyboardInterrupt

    def defect() -> None:
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


def test_quiet_holds_inside_the_command_and_only_there():
    seen = []

    def command(quiet: bool = False) -> None:
        """Look.

        Parameters
        ----------
        quiet
            Say less.
        """
        seen.append((is_quiet(), bar(range(3), "work").disable))

    assert run(command, ["--quiet"]) == 0
    assert seen == [(True, True)]
    assert not is_quiet()


def test_every_option_is_explained(capsys):
    with pytest.raises(SystemExit):
        parse(main, ["--help"])
    out = capsys.readouterr().out
    for text in (
        "Do something.",
        "What to run on.",
        "--tracking-uri",
        "--no-verify",
        "Neighbours.",
        "default: boutique",
    ):
        assert text in out


def test_a_parameter_without_a_description_is_refused():
    def silent(data: str = "x") -> None:
        """Do something."""

    with pytest.raises(TypeError, match="data needs a type, a default and a description"):
        make_parser(silent)


def test_parser_is_named_as_the_reader_calls_it():
    assert make_parser(main).prog == f"python -m {sys.modules[__name__].__spec__.name}"


def test_an_option_given_twice_adds_its_values():
    assert parse(main, ["--seeds", "1", "--quiet", "--seeds", "2", "3", "--seeds=4"])["seeds"] == (1, 2, 3, 4)
    assert parse(main, ["--seeds", "1", "2", "--data", "x"])["seeds"] == (1, 2)
    with pytest.raises(SettingError, match="--seeds"):
        parse(main, ["--data", "x", "--seeds"])


def test_an_option_stays_whole_and_paragraphs_apart_in_the_help(monkeypatch, capsys):
    def command(data_settings: str = "x") -> None:
        """First.

        Second.

        Parameters
        ----------
        data_settings
            As --data-settings says.
        """

    for width in range(40, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit):
            parse(command, ["--help"])
        assert "--data-settings says." in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        parse(command, ["--help"])
    assert "\nFirst.\n\nSecond.\n" in capsys.readouterr().out


def test_a_value_that_is_no_choice_suggests(tmp_path):
    def command(
        scope: Literal["graph", "item"] = "graph", masked: tuple[Literal["a-b", "c"], ...] = ()
    ) -> None:
        """Do.

        Parameters
        ----------
        scope
            One.
        masked
            Several.
        """

    for argv in (["--scope", "grph"], ["--scope=grph"]):
        with pytest.raises(
            SettingError, match=r"^unknown value 'grph' of --scope\. Did you mean 'graph'\? Known: "
        ):
            parse(command, argv)
    with pytest.raises(SettingError, match=r"unknown value 'ab' of --masked\. Did you mean 'a-b'"):
        parse(command, ["--masked", "c", "ab"])
    (tmp_path / "c.yaml").write_text("scope: grph")
    with pytest.raises(SettingError, match="unknown value 'grph' of --scope"):
        parse(command, ["--config", str(tmp_path / "c.yaml")])


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_is_not_shared_is_done_by_the_first_process_which_thinks_it_is_alone(rank, monkeypatch):
    done = []

    def work(quiet: bool = False) -> None:
        """Do something.

        Parameters
        ----------
        quiet
            Print less.
        """
        done.append(os.environ.get("WORLD_SIZE"))

    for name, value in (("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)):
        monkeypatch.setenv(name, value)
    assert run(work, [], shared=True) == 0
    assert run(work, []) == 0
    assert done == (["2", None] if rank == "0" else ["2"])
