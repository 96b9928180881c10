"""Which judge a generator learns from: by default, by choice, and where none fits."""

from __future__ import annotations

import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.experiments.methods import read_methods
from recsim_gen.experiments.rewards import rewarding_judges

JUDGES = [JudgeSpec(name) for name in ("micro-seed0", "vbpr-seed0", "taste@boutique-clip-seed0")]
METHODS = read_methods(["sd,ragar,free=ragar:reward=none,ragar_taste"])


def test_by_default_the_first_and_for_who_weighs_doubt_the_first_that_is_sure():
    assert rewarding_judges(METHODS, JUDGES) == {
        "ragar": "micro-seed0",
        "ragar_taste": "taste@boutique-clip-seed0",
    }
    assert rewarding_judges(METHODS[:1], []) == {}


def test_another_can_be_chosen():
    chosen = ["ragar=vbpr-seed0", "ragar_taste=micro-seed0"]
    assert rewarding_judges(METHODS, JUDGES, chosen) == {"ragar": "vbpr-seed0", "ragar_taste": "micro-seed0"}


@pytest.mark.parametrize("word", ["ragar", "sd=micro-seed0", "free=micro-seed0", "ragar=micro-seed1"])
def test_a_choice_of_what_is_not_there_is_told(word):
    with pytest.raises(SettingError, match=r"METHOD=JUDGE: a method among ragar, ragar_taste and a judge"):
        rewarding_judges(METHODS, JUDGES, [word])


def test_who_finds_no_judge_is_told():
    with pytest.raises(SettingError, match=r"ragar learns from .*: give one among --judges, got none"):
        rewarding_judges(METHODS, [])
    with pytest.raises(
        SettingError, match=r"ragar_taste learns .* reports its uncertainty .*, got micro-seed0"
    ):
        rewarding_judges(METHODS, JUDGES[:1])
