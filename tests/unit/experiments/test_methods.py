"""Lines of the table as they are written on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.experiments.methods import Method, check_settings, read_methods
from recsim_gen.metrics.presets import BLOCKS, PRESETS, block_of, listed
from recsim_gen.models.family import open_family


def read(*words: str) -> list[tuple[str, str, dict]]:
    return [(m.label, m.spec.name, dict(m.spec.settings)) for m in read_methods(words)]


def test_names_by_spaces_and_commas():
    assert read("original,sd", "oracle") == [(n, n, {}) for n in ("original", "sd", "oracle")]


def test_settings_and_names_of_ones_own():
    assert read("original", "big=original:size=32", "o2=original") == [
        ("original", "original", {}),
        ("big", "original", {"size": 32}),
        ("o2", "original", {}),
    ]
    (k,) = read_methods(["k=sd:prompt=a {category}"])
    assert k.spec == GeneratorSpec("sd", {"prompt": "a {category}"})
    assert (k.settings_text, k.role) == ("prompt=a {category}", "method")
    assert read("k=ragar:reward=none,standardise=false,k=0,sigma=1e-2,rank_weight=.5")[0][2] == {
        "reward": "none",
        "standardise": False,
        "k": 0,
        "sigma": 0.01,
        "rank_weight": 0.5,
    }
    assert read("k=sd:prompt={category}") == [("k", "sd", {"prompt": "{category}"})]


@pytest.mark.parametrize("text", ["12", "true", "null", "film: {title}", "1e-2", "", "a=b"])
def test_a_text_stays_as_it_is_written(text):
    assert read(f"k=sd:prompt={text}") == [("k", "sd", {"prompt": text})]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("k=3.5", "setting 'k' of generator ragar must be a whole number, got '3.5'"),
        ("k=five", "setting 'k' of generator ragar must be a whole number, got 'five'"),
        ("sigma=wide", "setting 'sigma' of generator ragar must be a number, got 'wide'"),
        ("standardise=2", "setting 'standardise' of generator ragar must be true or false, got '2'"),
        ("reading=litteral", "must be one of corrected, literal, got 'litteral'. Did you mean 'literal'?"),
        ("retrieval_k=0", "unknown setting 'retrieval_k' of generator ragar."),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_what_is_wanted(setting, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        read_methods([f"x=ragar:{setting}"])


def test_a_whole_number_may_stand_for_a_number():
    ((_, _, settings),) = read("x=ragar:sigma=1")
    assert settings == {"sigma": 1.0}
    assert isinstance(settings["sigma"], float)


def test_a_comma_ends_a_setting_or_the_generator():
    assert read("k=placebo:size=32,images=DIR,sd,o=original") == [
        ("k", "placebo", {"size": 32, "images": "DIR"}),
        ("sd", "sd", {}),
        ("o", "original", {}),
    ]


def test_a_class_of_the_readers_own():
    assert read("mine=generators.sd:StableDiffusion:prompt=x") == [
        ("mine", "generators.sd:StableDiffusion", {"prompt": "x"})
    ]


def test_roles():
    found = read_methods(["placebo", "sd"], images=["mine=DIR"])
    assert [c.role for c in found] == ["control", "method", "brought"]
    assert found[2].images == Path("DIR")
    with pytest.raises(SettingError, match=r"mine has images \(DIR\), not a generator"):
        found[2].open(None, (), judge=None, seed=0, models=None, device=None)
    assert not any(c.uses_ranker for c in found)
    assert read_methods(["ragar"])[0].uses_ranker


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["ragr"], "unknown generator 'ragr'. Did you mean 'ragar'"),
        (["sd", "sd"], "needs a name of its own, got sd twice. Write name=generator"),
        ([], "got none"),
        (["a b"], "a generator is NAME, or LABEL=NAME:SETTING=VALUE"),
        (["sd:prompt"], "sd:prompt: a setting is NAME=VALUE, got 'prompt'"),
        (["sd:promt=x"], "unknown setting 'promt' of generator sd. Did you mean 'prompt'"),
    ],
)
def test_what_is_written_wrongly_is_told(words, match):
    with pytest.raises(SettingError, match=match):
        read_methods(words)


def test_an_unknown_setting_is_told_before_anything_is_read():
    with pytest.raises(
        SettingError, match=r"unknown setting 'promt' of StableDiffusionConfig. Did you mean 'prompt'"
    ):
        check_settings([Method("sd", GeneratorSpec("sd", {"promt": "x"}))], open_family())


def test_a_checkpoint_is_of_the_generator_of_its_label(tmp_path):
    (tmp_path / "config.json").write_text('{"generator": "sd"}')
    alone, both = read_methods(["mine=sd"], [f"sd={tmp_path}", f"mine={tmp_path}"])[::-1]
    for method, label in ((alone, "sd"), (both, "mine")):
        assert method == Method(label, GeneratorSpec("sd"), checkpoint=tmp_path)
        assert not method.uses_ranker
    with pytest.raises(SettingError, match="mine: a checkpoint has its own settings"):
        read_methods(["mine=sd:prompt=x"], [f"mine={tmp_path}"])


def test_checkpoints_and_images_are_name_and_folder():
    with pytest.raises(SettingError, match="name=DIR is wanted, got 'folder'"):
        read_methods(["sd"], images=["folder"])


def test_presets_are_written_out_and_unknown_metrics_told():
    assert listed(["judged", "ssim,delta_r"]) == (*PRESETS["judged"], "ssim")
    with pytest.raises(SettingError, match=r"unknown metric or preset 'judgd'. Did you mean 'judged'"):
        listed(["judgd"])
    with pytest.raises(SettingError, match="give a metric or a preset"):
        listed([","])
    with pytest.raises(SettingError, match="a metric must be NAME"):
        listed(["cps[boutique-clip"])


def test_every_preset_is_of_known_blocks():
    for metrics in PRESETS.values():
        assert {block_of(metric) for metric in metrics} == set(BLOCKS)
    assert block_of("cps[boutique-clip]:x100") == "personalisation"
    assert block_of("delta_r[micro-seed0]") == "personalisation"
    assert block_of("aesthetic") == "quality"
