"""What ``--help`` and ``--PART.help NAME`` print."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from recsim_gen.core.command_line.parsing import parse
from recsim_gen.core.config import run
from recsim_gen.core.registry import DATASETS, GENERATORS, RANKERS
from recsim_gen.core.specs import DataSpec, GeneratorSpec, JudgeSpec, RankerSpec


@dataclass(frozen=True)
class Model:
    """A nested config."""

    k: int = 10  # neighbours


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Parameters
    ----------
    ranker
        What is trained; 50% of it.
    gen
        What draws.
    judges
        Who judges.
    seeds
        One run for each.
    protocol
        How new users are scored.
    model
        Settings of the model.
    encoders
        Encoder of each modality.
    data
        What to run on, as --data-settings says.
    output
        Where results go.
    tracking_uri
        Where MLflow keeps runs.
    verify
        Check against the slow reference.
    """

    ranker: RankerSpec = RankerSpec("micro")
    gen: GeneratorSpec | None = None
    judges: tuple[JudgeSpec, ...] = (JudgeSpec("micro-seed0"), JudgeSpec("vbpr-seed1"))
    seeds: tuple[int, ...] = (0, 1, 2)
    protocol: Literal["fold-in", "retrain"] = "fold-in"
    model: Model = field(default_factory=Model)
    encoders: dict[str, str] | None = None
    data: DataSpec = DataSpec("boutique")
    output: Path = Path("runs/x")
    tracking_uri: str | None = None
    verify: bool = True


def main(options: Options) -> None:
    """First.

    Second.
    """


def printed(argv, capsys):
    """What is said, and that it ends well."""
    with pytest.raises(SystemExit) as ended:
        parse(main, argv)
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_every_option_is_explained_with_its_default(word, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    out = printed(["--seeds", "3", word], capsys)
    assert out.startswith(f"usage: python -m {sys.modules[__name__].__spec__.name} [-h] [--config FILE]")
    for option, text in (
        ("--config FILE", "YAML or JSON file of these options, such as a run's config.yaml;"),
        ("--ranker NAME", "What is trained; 50% of it. (default: micro)"),
        ("--ranker-settings.NAME VALUE", "Settings of the ranker; --ranker.help NAME lists them."),
        ("--gen NAME", "What draws.\n"),
        ("--judges NAME [NAME ...]", "Who judges. (default: micro-seed0 vbpr-seed1)"),
        ("--seeds SEEDS [SEEDS ...]", "One run for each. (each a whole number; default: 0 1 2)"),
        ("--protocol PROTOCOL", "How new users are scored. (one of fold-in, retrain; default: fold-in)"),
        ("--model.k VALUE", "neighbours (a whole number; default: 10)"),
        ("--encoders.NAME VALUE", "Encoder of each modality.\n"),
        ("--data-settings.NAME VALUE", "Settings of the data; --data.help NAME lists them."),
        ("--output OUTPUT", "Where results go. (default: runs/x)"),
        ("--tracking-uri TRACKING_URI", "Where MLflow keeps runs.\n"),
        ("--no-verify", "Check against the slow reference.\n"),
    ):
        assert f"\n  {option} " in out or f"\n  {option}\n" in out
        assert text in out
    for foreign in ("<class", "typing", "print_config", "shtab", "ActionYesNo"):
        assert foreign not in out


def test_an_option_stays_whole_and_paragraphs_apart(monkeypatch, capsys):
    for width in range(40, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        assert "as --data-settings says." in " ".join(printed(["--help"], capsys).split())
    assert "\nFirst.\n\nSecond.\n" in printed(["--help"], capsys)


@pytest.mark.parametrize(
    ("argv", "texts"),
    [
        (
            ["--ranker.help", "micro"],
            [
                "ranker micro: --ranker-settings.NAME VALUE\n",
                "  epochs (a whole number; default: 1000)\n      maximum; validation may stop earlier\n",
                "  valid_metric (one of Recall@10, Recall@20, NDCG@10, NDCG@20; default: Recall@20)\n",
            ],
        ),
        (["--ranker.help=micro:published-code"], ["  stopping_step (a whole number; default: 10)\n"]),
        (
            ["--ranker.help", "--ranker", "lightgcn"],
            ["ranker lightgcn: ", "  require_pow (true or false; default: true)\n"],
        ),
        (["--ranker.help"], ["ranker micro: "]),
        (["--ranker.help", "popularity"], ["ranker popularity: nothing to set\n"]),
        (
            ["--gen.help", "ragar"],
            [
                "generator ragar: --gen-settings.NAME VALUE\n",
                "  k (a whole number; default: 5)\n      ",
                '"fixed to 5" (Sec. 5.1)',
            ],
        ),
        (["--gen.help", "sd", "pmg"], ["generator sd: ", "generator pmg: "]),
        (["--gen.help", "placebo"], ['  images (text; default: "")\n']),
        (["--judges.help"], ["judge micro-seed0: --judges-settings.NAME VALUE\n", "judge vbpr-seed1: "]),
        (
            ["--data.help", "ml-100k"],
            [
                "data ml-100k: --data-settings.NAME VALUE\n",
                "  sequence_length (a whole number; default: 20)\n",
                "  captions (text or null; default: null)\n",
            ],
        ),
    ],
    ids=lambda x: " ".join(x) if x[0].startswith("-") else "",
)
def test_the_settings_of_a_part_are_listed_with_type_default_and_a_line(argv, texts, capsys):
    out = printed(argv, capsys)
    for text in texts:
        assert text in out


@pytest.mark.parametrize(
    ("option", "names", "spec"),
    [("--ranker", RANKERS, RankerSpec), ("--gen", GENERATORS, GeneratorSpec), ("--data", DATASETS, DataSpec)],
)
def test_all_settings_of_all_parts_are_listed(option, names, spec, capsys):
    for name in names:
        lines = printed([f"{option}.help", name], capsys).splitlines()
        for setting in spec(name).known():
            at = next(n for n, line in enumerate(lines) if line.startswith(f"  {setting.name} ("))
            assert lines[at + 1].strip(), f"{name}: {setting.name} has no line"


def test_a_part_that_is_not_there_suggests(capsys):
    assert run(main, ["--ranker.help", "mcro"]) == 2
    assert "unknown ranker 'mcro'. Did you mean 'micro'?" in capsys.readouterr().err
    assert run(main, ["--gen.help"]) == 2
    assert "--gen.help needs the name of a generator, got none" in capsys.readouterr().err
