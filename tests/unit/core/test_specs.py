"""Specs: names taken apart once, settings with the values of a recipe."""

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
    assert defaults(RankerSpec("rankers.recbole.models:BPR")) == defaults(RankerSpec("bpr"))
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
