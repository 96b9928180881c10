"""Specs: names taken apart once, settings with the values of a recipe."""

import subprocess
import sys
from pathlib import Path

import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.specs import DataSpec, GeneratorSpec, JudgeSpec, RankerSpec


def defaults(spec):
    return {setting.name: setting.default for setting in spec.known()}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("micro", ("micro", "")),
        ("micro:published-code", ("micro", "published-code")),
        ("rankers.popularity:Popularity", ("rankers.popularity:Popularity", "")),
        ("mcro:published-code", ("mcro", "published-code")),
    ],
)
def test_a_ranker_is_a_name_with_a_recipe_or_a_class(name, parts):
    assert RankerSpec(name).parts == parts


def test_a_recipe_gives_its_values_as_defaults():
    plain, published = defaults(RankerSpec("micro")), defaults(RankerSpec("micro:published-code"))
    assert (plain["stopping_step"], published["stopping_step"]) == (5, 10)
    assert defaults(RankerSpec("micro:default")) == plain
    assert defaults(RankerSpec("bpr:default")) == defaults(RankerSpec("bpr"))
    assert defaults(RankerSpec("rankers.bpr:BPRRanker")) == defaults(RankerSpec("bpr"))
    with pytest.raises(
        SettingError, match=r"unknown recipe 'publshed' of micro\. Did you mean 'published-code'"
    ):
        RankerSpec("micro:publshed").known()


def test_data_has_the_settings_of_its_loader_and_those_of_all_data():
    spec = DataSpec("movielens:a:b")
    assert spec.parts == ("movielens", "a:b")
    assert {"sequence_length", "min_rating", "split", "captions"} <= set(defaults(spec))
    assert not {"path", "dataset"} & set(defaults(spec))


def test_a_folder_called_like_a_judge_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "micro-seed0").mkdir()
    assert JudgeSpec("micro-seed0").folder is None
    assert JudgeSpec("./micro-seed0").folder == Path("micro-seed0")


def test_a_judge_is_trained_here_or_in_a_folder(tmp_path):
    here = JudgeSpec("micro:published-code-seed12", {"epochs": 3})
    assert (here.folder, here.seed) == (None, 12)
    assert here.ranker == RankerSpec("micro:published-code", {"epochs": 3})
    assert here.encoder is None
    own = JudgeSpec("taste@open_clip:ViT-B-32/laion-seed3")
    assert (own.ranker.name, own.encoder, own.seed) == ("taste", "open_clip:ViT-B-32/laion", 3)
    assert JudgeSpec(str(tmp_path)).folder == tmp_path
    assert JudgeSpec(str(tmp_path)).known() == []
    with pytest.raises(SettingError, match=r"unknown ranker 'mcro'\. Did you mean 'micro'"):
        JudgeSpec("mcro-seed0").known()
    for name in ("micro", "micro-seed", "-seed0", "nowhere/micro-seed0"):
        with pytest.raises(SettingError, match=r"a judge is NAME-seedN .* or a folder .*, got "):
            _ = JudgeSpec(name).folder


@pytest.mark.parametrize("spec", [RankerSpec, GeneratorSpec, DataSpec, JudgeSpec])
def test_a_part_needs_a_name(spec):
    with pytest.raises(SettingError, match="needs a name, got none"):
        spec("")


def test_rankers_of_the_registry_are_checked_without_torch():
    code = (
        "import sys; from recsim_gen.core.registry import RANKERS\n"
        "from recsim_gen.core.specs import JudgeSpec, RankerSpec\n"
        "for name in RANKERS: RankerSpec(name).check()\n"
        "JudgeSpec('taste@hf:nowhere-seed0').check()\n"
        "assert not {'torch', 'recbole', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (RankerSpec("micro:publishd"), "unknown recipe 'publishd' of micro"),
        (RankerSpec("micro", {"recipe": "publishd"}), "unknown recipe 'publishd' of micro"),
        (RankerSpec("bpr", {"epochs": 0}), "epochs must be at least 1, got 0"),
        (RankerSpec("nowhere:Mine"), "unknown recipe|no module|unknown ranker"),
        (JudgeSpec("micro-seed0", {"knn_k": 0}), "knn_k must be at least 1"),
        (JudgeSpec("taste@pixel-seed0"), "unknown encoder 'pixel'. Did you mean 'pixels'"),
        (DataSpec("movielens"), "needs its folder, got none. Write movielens:PATH"),
        (DataSpec("boutique:here"), "takes no path, got 'here'"),
        (GeneratorSpec("ragr"), "unknown generator 'ragr'. Did you mean 'ragar'"),
    ],
)
def test_what_cannot_be_is_told_by_its_check(spec, told):
    with pytest.raises(SettingError, match=told):
        spec.check()


def test_a_recipe_is_checked_wherever_it_stands():
    for spec in (RankerSpec("micro:published-code"), RankerSpec("micro", {"recipe": "published-code"})):
        assert spec.config().sampling == "user-repeated"
