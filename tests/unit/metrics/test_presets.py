"""Presets of metrics: what is given by itself is not asked for twice."""

from recsim_gen.metrics.presets import PRESETS, listed


def test_a_metric_with_a_backbone_stands_for_that_of_the_preset():
    names = listed(["table2", "verifier[runs/v]"])
    assert names == (*(name for name in PRESETS["table2"] if name != "verifier"), "verifier[runs/v]")


def test_without_one_the_preset_is_whole_and_names_stand_once():
    assert listed(["table2,ssim", "ssim"]) == PRESETS["table2"]
    assert listed(["verifier", "verifier[a]"]) == ("verifier", "verifier[a]")
