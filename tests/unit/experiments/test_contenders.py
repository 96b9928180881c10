"""Lines of the table as they are written on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.experiments.contenders import Contender, check_settings, contenders
from recsim_gen.metrics.presets import BLOCKS, PRESETS, block_of, listed
from recsim_gen.models.family import open_family


def told(*words: str) -> list[tuple[str, str, dict]]:
    return [(c.label, c.generator, dict(c.settings)) for c in contenders(words)]


def test_names_by_spaces_and_commas():
    assert told("original,sd", "oracle") == [(n, n, {}) for n in ("original", "sd", "oracle")]


def test_settings_and_names_of_ones_own():
    assert told("original", "big=original:size=32", "o2=original") == [
        ("original", "original", {}),
        ("big", "original", {"size": 32}),
        ("o2", "original", {}),
    ]
    (k,) = contenders(["k=sd:prompt=a {category}"])
    assert (k.settings, k.told, k.role) == ({"prompt": "a {category}"}, "prompt=a {category}", "method")
    assert told("k=ragar:reward=none,standardise=false,k=0,sigma=1e-2,rank=.5")[0][2] == {
        "reward": "none",
        "standardise": False,
        "k": 0,
        "sigma": 0.01,
        "rank": 0.5,
    }
    assert told("k=sd:prompt={category}") == [("k", "sd", {"prompt": "{category}"})]


def test_a_comma_ends_a_setting_or_the_generator():
    assert told("k=placebo:size=32,pictures=DIR,sd,o=original") == [
        ("k", "placebo", {"size": 32, "pictures": "DIR"}),
        ("sd", "sd", {}),
        ("o", "original", {}),
    ]


def test_a_class_of_the_readers_own():
    assert told("mine=generators.sd:StableDiffusion:prompt=x") == [
        ("mine", "generators.sd:StableDiffusion", {"prompt": "x"})
    ]


def test_roles():
    found = contenders(["placebo", "sd"], images=["mine=DIR"])
    assert [c.role for c in found] == ["control", "method", "brought"]
    assert found[2].images == Path("DIR")
    with pytest.raises(SettingError, match=r"mine has pictures \(DIR\), not a generator"):
        found[2].open(None, (), ranker=None, seed=0, models=None, device=None)
    assert not any(c.wants_ranker for c in found)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["ragr"], "unknown generator 'ragr'. Did you mean 'ragar'"),
        (["sd", "sd"], "needs a name of its own, got sd twice. Write name=generator"),
        ([], "got none"),
        (["a b"], "a generator is NAME, or LABEL=NAME:SETTING=VALUE"),
        (["sd:prompt"], "sd:prompt: a setting is NAME=VALUE, got 'prompt'"),
    ],
)
def test_what_is_written_wrongly_is_told(words, match):
    with pytest.raises(SettingError, match=match):
        contenders(words)


def test_an_unknown_setting_is_told_before_anything_is_read():
    with pytest.raises(
        SettingError, match=r"unknown setting 'promt' of StableDiffusionConfig. Did you mean 'prompt'"
    ):
        check_settings([Contender("sd", "sd", {"promt": "x"})], open_family())


def test_checkpoints_and_images_are_name_and_folder():
    with pytest.raises(SettingError, match="name=DIR is wanted, got 'folder'"):
        contenders(["sd"], images=["folder"])


def test_presets_are_written_out_and_unknown_metrics_told():
    assert listed(["judged", "ssim,delta_r"]) == (*PRESETS["judged"], "ssim")
    with pytest.raises(SettingError, match=r"unknown metric or preset 'judgd'. Did you mean 'judged'"):
        listed(["judgd"])
    with pytest.raises(SettingError, match="give a metric or a preset"):
        listed([","])
    with pytest.raises(SettingError, match="a metric is NAME"):
        listed(["cps[boutique-clip"])


def test_every_preset_is_of_known_blocks():
    for metrics in PRESETS.values():
        assert {block_of(metric) for metric in metrics} == set(BLOCKS)
    assert block_of("cps[boutique-clip]:x100") == "personalisation"
    assert block_of("delta_r[micro-seed0]") == "personalisation"
    assert block_of("aesthetic") == "quality"
