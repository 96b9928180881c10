"""The judge of the reward: one that does not look at pictures is refused, and the verdict is kept."""

from __future__ import annotations

import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.judging import modality_use, swap_test
from recsim_gen.judging.judges import check_judges, reward_judge

BLIND = JudgeSpec("popularity-seed0")


@pytest.fixture
def shop(apart):
    """A small shop, encoded, and the folder for the ranker."""
    dataset = open_data("boutique", n_items=80, n_users=12)
    return dataset, encode(dataset, {"image": "pixels"}), apart / "ranker"


def rewarding(shop, spec=BLIND, **more):
    dataset, catalog, folder = shop
    results = Results("x", {})
    return reward_judge(spec, dataset, catalog, results, keep=folder, **more), results


def test_one_that_is_blind_to_pictures_gives_no_reward(shop):
    with pytest.raises(SettingError, match=r"popularity-seed0 must not judge images.*--force"):
        rewarding(shop)
    judge, results = rewarding(shop, force=True)
    assert (judge.name, judge.seed, judge.ranker.name) == ("popularity", 0, "popularity")
    assert results.fingerprints["ranker popularity-seed0"] == judge.ranker.fingerprint
    assert "does not use" in results.verdicts["modality use (popularity-seed0)"]
    assert "is blind" in results.verdicts["swap test (popularity-seed0)"]
    assert any("judges by force" in note for note in results.notes)


def test_the_verdict_is_found_again_and_given_to_who_names_the_folder(shop, monkeypatch):
    rewarding(shop, force=True)

    def again(*args, **kwargs):
        raise AssertionError("tested twice")

    monkeypatch.setattr(modality_use, "modality_use", again)
    monkeypatch.setattr(swap_test, "swap_test", again)
    rewarding(shop, force=True)
    kept = JudgeSpec(str(shop[2]))
    with pytest.raises(SettingError, match="ranker must not judge images"):
        check_judges([kept], force=False)
    (note,) = check_judges([kept], force=True)
    assert "by force" in note
    judge, results = rewarding(shop, kept, force=True)
    assert judge.label == "ranker"
    assert results.fingerprints == {"ranker ranker": judge.ranker.fingerprint}
