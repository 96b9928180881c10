"""Options of a command: types, precedence, mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from recsim_gen.core.command_line.parsing import parse
from recsim_gen.core.errors import SettingError


@dataclass(frozen=True)
class Model:
    """A nested config."""

    k: int = 10  # neighbours
    rate: float = 0.5  # of learning
    exact: bool = True  # compare all


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Parameters
    ----------
    data
        What to run on.
    seeds
        One run for each.
    encoders
        Encoder of each modality.
    model
        Settings of the model.
    protocol
        How new users are scored.
    masked
        Splits.
    users
        Users to ask about, default all.
    output
        Where results go.
    tracking_uri
        Where MLflow keeps runs.
    sample
        Pictures to look at.
    verify
        Check against the slow reference.
    quiet
        Print the table only.
    from_
        Where it comes from.
    """

    data: str = "boutique"
    seeds: tuple[int, ...] = (0, 1, 2)
    encoders: dict[str, str] | None = None
    model: Model = field(default_factory=Model)
    protocol: Literal["fold-in", "retrain"] = "fold-in"
    masked: tuple[Literal["train", "valid"], ...] = ("train", "valid")
    users: tuple[str, ...] | None = None
    output: Path = Path("runs/x")
    tracking_uri: str | None = None
    sample: int | None = None
    verify: bool = True
    quiet: bool = False
    from_: str = "here"


def main(options: Options) -> None:
    """Do something."""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "data: ml-100k\nseeds: [7]\nencoders: {text: words, image: pixels}\nmodel: {k: 4}\n"
        "tracking_uri: here\nverify: false\nquiet: true\nsample: null\nusers: [a]\nfrom: there\n"
    )
    return str(path)


def refused(argv):
    with pytest.raises(SettingError) as error:
        parse(main, argv)
    return str(error.value)


def test_defaults_are_those_of_the_dataclass():
    assert parse(main, []) == Options()


def test_types_are_those_of_the_fields():
    argv = (
        "--seeds 4 5 --output a/b --tracking-uri sqlite:///x.db --no-verify --quiet --model.k 3 "
        "--model.exact false --data 12 --encoders.text words --protocol retrain --masked train "
        "--users 1 2 --sample 7 --from there"
    )
    assert parse(main, argv.split()) == Options(
        seeds=(4, 5),
        output=Path("a/b"),
        tracking_uri="sqlite:///x.db",
        verify=False,
        quiet=True,
        model=Model(k=3, exact=False),
        data="12",
        encoders={"text": "words"},
        protocol="retrain",
        masked=("train",),
        users=("1", "2"),
        sample=7,
        from_="there",
    )


def test_file_wins_over_defaults(file):
    assert parse(main, ["--config", file]) == Options(
        data="ml-100k",
        seeds=(7,),
        encoders={"text": "words", "image": "pixels"},
        model=Model(k=4),
        tracking_uri="here",
        verify=False,
        quiet=True,
        users=("a",),
        from_="there",
    )


@pytest.mark.parametrize("last", [True, False], ids=["file first", "file last"])
def test_command_line_wins_over_file_wherever_it_stands(file, last):
    options = "--encoders.text minilm --model.rate 0.2 --data boutique --seeds 1 2 --no-quiet --verify"
    argv = ["--config", file, *options.split()] if last else [*options.split(), f"--config={file}"]
    values = parse(main, argv)
    assert values.encoders == {"text": "minilm", "image": "pixels"}
    assert values.model == Model(k=4, rate=0.2)
    assert values.data == "boutique"
    assert values.seeds == (1, 2)
    assert (values.quiet, values.verify) == (False, True)
    assert values.tracking_uri == "here"


def test_a_later_file_wins_over_an_earlier_one(file, tmp_path):
    (tmp_path / "later.json").write_text('{"data": "pog", "model": {"rate": 0.1}, "seeds": 3, "users": null}')
    values = parse(main, ["--config", file, "--config", str(tmp_path / "later.json")])
    assert (values.data, values.model, values.seeds) == ("pog", Model(k=4, rate=0.1), (3,))
    assert values.users is None
    assert values.tracking_uri == "here"


def test_an_empty_file_and_an_empty_list_are_taken(tmp_path):
    (tmp_path / "c.yaml").write_text("")
    assert parse(main, ["--config", str(tmp_path / "c.yaml")]) == Options()
    (tmp_path / "c.yaml").write_text("users: []\nencoders: null\n")
    assert parse(main, ["--config", str(tmp_path / "c.yaml")]) == Options(users=())


def test_numbers_are_read_as_a_reader_writes_them(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {rate: 1e-3}\n")  # which YAML takes for text
    assert parse(main, ["--config", str(tmp_path / "c.yaml")]).model.rate == 1e-3
    assert parse(main, ["--model.rate", "1e-3"]).model.rate == 1e-3
    rate = parse(main, ["--model.rate", "3"]).model.rate
    assert (rate, type(rate)) == (3.0, float)
    assert parse(main, ["--seeds", "-1", "2"]).seeds == (-1, 2)


@pytest.mark.parametrize(
    "text", ["film: {title}", "{a: b}", "[1]", "null and void", "1e3", "--x", "@f", "50%"]
)
def test_text_arrives_as_it_was_typed(text):
    assert parse(main, [f"--data={text}"]).data == text
    assert parse(main, [f"--tracking-uri={text}"]).tracking_uri == text
    assert parse(main, [f"--encoders.text={text}"]).encoders == {"text": text}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--dta", "x"], "unknown option --dta. Did you mean '--data'? Known: --config, --data,"),
        (["--tracking_ur", "x"], "unknown option --tracking_ur. Did you mean '--tracking-uri'?"),
        (["--verfy"], "unknown option --verfy. Did you mean '--no-verify'?"),
        (["--model.kk", "3"], "unknown setting 'kk' of model. Did you mean 'k'? Known: k, rate, exact."),
        (["--see", "3"], "unknown option --see."),  # no abbreviations: a later option could change them
        (["--data.help"], "unknown option --data.help."),
        (["--seeds", "a"], "each of --seeds must be a whole number, got 'a'"),
        (["--seeds", "1", "2.5"], "each of --seeds must be a whole number, got '2.5'"),
        (["--seeds", "true"], "each of --seeds must be a whole number, got 'true'"),
        (["--seeds"], "--seeds takes one value or more, got none"),
        (["--data"], "--data takes one value, got none"),
        (["--data", "x", "y"], "--data takes one value, got x y"),
        (["--model.k"], "--model.k takes one value, got none"),
        (["--model.k", "3.5"], "--model.k must be a whole number, got '3.5'"),
        (["--model", "3"], "--model must be NAME: VALUE pairs, got 3"),
        (["--sample", "some"], "--sample must be a whole number or null, got 'some'"),
        (["--quiet", "x"], "--quiet must be true or false, got 'x'"),
        (["--no-verify", "x"], "--no-verify takes no value, got x"),
        (
            ["--protocol", "fold"],
            "--protocol must be one of fold-in, retrain, got 'fold'. Did you mean 'fold-in'?",
        ),
        (
            ["--masked", "train", "vald"],
            "each of --masked must be one of train, valid, got 'vald'. Did you mean 'valid'?",
        ),
        (["--config"], "--config needs the name of a YAML or JSON file, got none"),
        (["--config="], "--config needs the name of a YAML or JSON file, got none"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: cannot be read (["),
        (["more"], "an option begins with --, got 'more'"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_on_the_command_line_say_what_was_meant(argv, message):
    said = refused(argv)
    assert said.startswith(message)
    assert "\n" not in said
    assert "print" not in said  # no option of the library beneath


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dta: x", "{}: unknown key 'dta'. Did you mean 'data'?"),
        ("model: {kk: 3}", "{}: unknown setting 'kk' of model. Did you mean 'k'?"),
        ("model: 3", "{}: model must be NAME: VALUE pairs, got 3"),
        ("seeds: [a]", "{}: each of seeds must be a whole number, got 'a'"),
        ("seeds: null", "{}: seeds must be a list, each a whole number, got None"),
        ("data: null", "{}: data must be text, got None"),
        ("data: 12", "{}: data must be text, got 12"),
        ("quiet: 3", "{}: quiet must be true or false, got 3"),
        (
            "protocol: fold",
            "{}: protocol must be one of fold-in, retrain, got 'fold'. Did you mean 'fold-in'?",
        ),
        ("data: [", "--config {}: cannot be read (while parsing"),
        ("- data", "--config {}: must hold NAME: VALUE pairs, got list"),
    ],
)
def test_mistakes_in_the_file_say_what_was_meant(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    said = refused(["--config", str(path)])
    assert said.startswith(message.format(path))
    assert "\n" not in said


def test_an_option_given_twice_adds_its_values():
    assert parse(main, ["--seeds", "1", "--quiet", "--seeds", "2", "3", "--seeds=4"]).seeds == (1, 2, 3, 4)
    assert parse(main, ["--seeds", "1", "2", "--data", "x"]).seeds == (1, 2)
    assert parse(main, ["--data", "x", "--data", "y"]).data == "y"


@dataclass
class Silent:
    """An option without a line."""

    data: str = "x"


@dataclass
class Bare:
    """An option without a default.

    Parameters
    ----------
    data
        What.
    """

    data: str


@dataclass
class Stale:
    """A line without an option.

    Parameters
    ----------
    data
        What.
    """


@pytest.mark.parametrize("options", [Silent, Bare, Stale])
def test_an_option_without_type_default_and_description_is_refused(options):
    def command(options) -> None:
        """Do something."""

    command.__annotations__["options"] = options
    with pytest.raises(TypeError, match="data needs a type, a default and a description"):
        parse(command, [])
