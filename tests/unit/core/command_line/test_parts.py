"""Parts of the registries as options: names, their settings from the command line and from files."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import yaml

from recsim_gen.core.command_line.parsing import parse
from recsim_gen.core.config import run
from recsim_gen.core.errors import SettingError
from recsim_gen.core.options import RankerOptions, RunOptions
from recsim_gen.core.results import Results
from recsim_gen.core.specs import DataSpec, GeneratorSpec, JudgeSpec, RankerSpec


@dataclass(frozen=True, kw_only=True)
class OneOptions(RankerOptions, RunOptions):
    """Options of a command with one part beside its data.

    Parameters
    ----------
    data
        What to run on.
    """

    data: DataSpec = DataSpec("boutique")


def one(options: OneOptions) -> None:
    """Do something."""


@dataclass(frozen=True, kw_only=True)
class ManyOptions(RunOptions):
    """Options of a command with several parts.

    Parameters
    ----------
    gen
        What draws.
    rankers
        What is trained.
    judges
        Who judges.
    from_
        What to run on.
    """

    gen: GeneratorSpec | None = None
    rankers: tuple[RankerSpec, ...] = (RankerSpec("micro"),)
    judges: tuple[JudgeSpec, ...] = ()
    from_: DataSpec = DataSpec("boutique")


def many(options: ManyOptions) -> None:
    """Do something."""


@pytest.fixture
def file(tmp_path):
    """Writes a file of options; gives its name."""

    def write(**content):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(path)

    return write


def test_names_and_settings_make_specs():
    argv = "--ranker lightgcn --ranker-settings.epochs 50 --ranker-settings.learning_rate 1 --data ml-100k"
    options = parse(one, [*argv.split(), "--data-settings.sequence_length=12"])
    assert options.ranker == RankerSpec("lightgcn", {"epochs": 50, "learning_rate": 1.0})
    assert isinstance(options.ranker.settings["learning_rate"], float)
    assert options.data == DataSpec("ml-100k", {"sequence_length": 12})
    assert parse(one, []) == OneOptions()


@pytest.mark.parametrize("name", ["settings", "ranker_settings"])
def test_settings_is_short_for_those_of_the_only_part_beside_the_data(name, file):
    options = parse(one, [f"--{name.replace('_', '-')}.epochs", "50"])
    assert options.ranker == RankerSpec("micro", {"epochs": 50})
    assert options.data == DataSpec("boutique")
    content = file(**{name: {"epochs": 50, "knn_k": 3}})
    options = parse(one, ["--config", content])
    assert options.ranker == RankerSpec("micro", {"epochs": 50, "knn_k": 3})
    options = parse(one, ["--config", content, "--ranker-settings.epochs", "7"])
    assert options.ranker == RankerSpec("micro", {"epochs": 7, "knn_k": 3})
    options = parse(one, ["--settings.epochs", "7", "--config", content, "--settings", "{n_layers: 1}"])
    assert options.ranker == RankerSpec("micro", {"epochs": 7, "knn_k": 3, "n_layers": 1})


def test_settings_is_short_for_nothing_where_it_could_be_two_things(file):
    with pytest.raises(SettingError, match=r"^unknown option --settings\.steps\."):
        parse(many, ["--gen", "sd", "--settings.steps", "3"])
    with pytest.raises(SettingError, match="unknown key 'settings'"):
        parse(many, ["--config", file(settings={"steps": 3})])


def test_settings_of_data_are_called_so_whatever_the_data_is_called():
    options = parse(many, ["--from", "ml-100k", "--data-settings.sequence_length", "12"])
    assert options.from_ == DataSpec("ml-100k", {"sequence_length": 12})


def test_text_of_a_setting_arrives_as_it_was_typed(file):
    prompt = "film poster: {title}"
    wanted = GeneratorSpec("sd", {"prompt": prompt})
    assert parse(many, ["--gen", "sd", "--gen-settings.prompt", prompt]).gen == wanted
    assert parse(many, ["--config", file(gen="sd", gen_settings={"prompt": prompt})]).gen == wanted


def test_a_part_may_be_none(file):
    assert parse(many, ["--config", file(gen=None)]).gen is None
    with pytest.raises(SettingError, match=r"ranker must be text, got None"):
        parse(one, ["--config", file(ranker=None)])


def test_each_of_several_parts_gets_the_settings_and_one_without_any_is_left():
    options = parse(many, ["--rankers", "micro", "popularity", "vbpr", "--rankers-settings.epochs", "3"])
    assert options.rankers == (
        RankerSpec("micro", {"epochs": 3}),
        RankerSpec("popularity"),
        RankerSpec("vbpr", {"epochs": 3}),
    )
    with pytest.raises(SettingError, match="unknown setting 'knn_k' of ranker vbpr"):
        parse(many, ["--rankers", "micro", "vbpr", "--rankers-settings.knn_k", "3"])


def test_judges_take_the_settings_of_their_rankers_and_trained_ones_none(tmp_path):
    argv = ["--judges", "micro-seed0", "vbpr-seed3", str(tmp_path), "--judges-settings.epochs", "3"]
    micro, vbpr, trained = parse(many, argv).judges
    assert (micro.ranker, micro.seed, micro.folder) == (RankerSpec("micro", {"epochs": 3}), 0, None)
    assert (vbpr.ranker, vbpr.seed, vbpr.folder) == (RankerSpec("vbpr", {"epochs": 3}), 3, None)
    assert (trained.folder, trained.settings) == (tmp_path, {})
    with pytest.raises(
        SettingError, match=r"--judges-settings.epochs is a setting of a judge: give --judges"
    ):
        parse(many, ["--judges-settings.epochs", "3"])
    for name in ("micro", "micro-seed", "no/where-seed0"):
        with pytest.raises(SettingError, match=r"a judge is NAME-seedN .* or a folder .*, got "):
            parse(many, ["--judges", name, "--judges-settings.epochs", "3"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ranker-settings.epochs", "3.5"], "--ranker-settings.epochs must be a whole number, got '3.5'"),
        (["--settings.epochs", "3.5"], "--settings.epochs must be a whole number, got '3.5'"),
        (["--settings.epochs", "true"], "--settings.epochs must be a whole number, got 'true'"),
        (["--settings.epochs", "null"], "--settings.epochs must be a whole number, got 'null'"),
        (
            ["--settings.epohcs", "3"],
            "unknown setting 'epohcs' of ranker micro. Did you mean 'epochs'? Known: epochs, ",
        ),
        (
            ["--ranker", "bpr", "--settings.knn_k", "3"],
            "unknown setting 'knn_k' of ranker bpr. Known: epochs, ",
        ),
        (
            ["--settings.valid_metric", "Recall@21"],
            "--settings.valid_metric must be one of Recall@10, Recall@20, NDCG@10, NDCG@20, got 'Recall@21'. "
            "Did you mean 'Recall@20'?",
        ),
        (
            ["--ranker", "popularity", "--settings.epochs", "3"],
            "--settings.epochs cannot be given: ranker popularity has nothing to set",
        ),
        (["--ranker", "mcro", "--settings.epochs", "3"], "unknown ranker 'mcro'. Did you mean 'micro'?"),
        (
            ["--ranker", "micro:publshed-code", "--settings.epochs", "3"],
            "unknown recipe 'publshed-code' of micro. Did you mean 'published-code'?",
        ),
        (["--ranker="], "a ranker needs a name, got none"),
        (
            ["--ranker-setings.epochs", "3"],
            "unknown option --ranker-setings.epochs. Did you mean '--ranker-settings'?",
        ),
        (
            ["--data", "ml-100k", "--data-settings.sequence_length", "six"],
            "--data-settings.sequence_length must be a whole number, got 'six'",
        ),
        (
            ["--data", "ml-100k", "--data-settings.sequence_length", "6.5"],
            "--data-settings.sequence_length must be a whole number, got '6.5'",
        ),
        (
            ["--data", "pmg-movieposter:x", "--data-settings.sequence_length", "six"],
            "--data-settings.sequence_length must be a whole number or published or null, got 'six'",
        ),
        (
            ["--data", "botique", "--data-settings.seed", "6"],
            "unknown data 'botique'. Did you mean 'boutique'?",
        ),
        (
            ["--data-settings.n_itms", "6"],
            "unknown setting 'n_itms' of data boutique. Did you mean 'n_items'?",
        ),
        (
            ["--data-settings.split", "by-tim"],
            "--data-settings.split must be one of leave-last-out, by-ratio, by-time, by-user or null, "
            "got 'by-tim'. Did you mean 'by-time'?",
        ),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_end_in_one_line_before_the_command_starts(argv, message, capsys):
    def command(options: OneOptions) -> None:
        """Never start."""
        raise AssertionError(options)

    assert run(command, argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_mistakes_in_files_name_the_file(file):
    content = file(ranker="vbpr", ranker_settings={"epochs": "ten"})
    with pytest.raises(
        SettingError, match=r"c\.yaml: ranker_settings\.epochs must be a whole number, got 'ten'"
    ):
        parse(one, ["--config", content])
    assert parse(one, ["--config", content, "--settings.epochs", "3"]).ranker.settings == {"epochs": 3}
    with pytest.raises(SettingError, match=r"c\.yaml: unknown setting 'knn_k' of ranker vbpr"):
        parse(one, ["--config", file(ranker="vbpr", settings={"knn_k": 3})])
    with pytest.raises(
        SettingError, match=r"c\.yaml: unknown key 'rankr_settings'\. Did you mean 'ranker_set"
    ):
        parse(one, ["--config", file(rankr_settings={"epochs": 3})])


@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (one, []),
        (one, ["--settings.learning_rate", "1e-5", "--data", "movielens:~/x", "--tracking-uri", "null: {}"]),
        (many, []),
        (many, ["--rankers", "micro", "popularity", "--rankers-settings.knn_k", "3", "--gen", "sd"]),
        (many, ["--gen", "sd", "--gen-settings.prompt", "film poster: {title}", "--from", "ml-100k"]),
        (many, ["--judges", "micro-seed0", "lightgcn-seed1", "--judges-settings.epochs", "3", "--quiet"]),
    ],
)
def test_the_options_that_a_command_writes_are_those_that_it_reads(main, argv, tmp_path):
    options = parse(main, argv)
    Results("x", options.as_dict()).write(tmp_path)
    assert parse(main, ["--config", str(tmp_path / "config.yaml")]) == options
    assert (
        (tmp_path / "config.yaml")
        .read_text()
        .startswith("# Options of x: run it again with --config config.yaml\n")
    )
