"""The ranker of the reward: one that does not look at pictures is refused, and the verdict is kept."""

from __future__ import annotations

import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.results import Results
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.judging import reward_ranker as module
from recsim_gen.judging.reward_ranker import check_rankers, reward_ranker


@pytest.fixture
def blind(apart, monkeypatch):
    """A small shop, and a ranker by popularity in MICRO's place."""
    monkeypatch.setattr(module, "SPEC", "popularity")
    dataset = open_data("boutique", n_items=80, n_users=12)
    return encode(dataset, {"image": "pixels"}), dataset.interactions, apart / "ranker"


def asked(blind, **more):
    catalog, interactions, folder = blind
    results = Results("x", {})
    return reward_ranker(None, folder, catalog, interactions, results, **more), results


def test_one_that_is_blind_to_pictures_gives_no_reward(blind):
    with pytest.raises(SettingError, match=r"popularity-seed0 must not judge images.*--force"):
        asked(blind)
    ranker, results = asked(blind, force=True)
    assert ranker.name == "popularity"
    assert results.fingerprints["ranker"] == ranker.fingerprint
    assert "does not use" in results.verdicts["modality use (popularity-seed0)"]
    assert any("judges by force" in note for note in results.notes)


def test_the_verdict_is_found_again_and_given_to_who_names_the_folder(blind, monkeypatch):
    asked(blind, force=True)

    def again(*args, **kwargs):
        raise AssertionError("tested twice")

    monkeypatch.setattr(module, "modality_use", again)
    asked(blind, force=True)
    folder = blind[2]
    with pytest.raises(SettingError, match="ranker must not judge images"):
        check_rankers(folder, None, force=False)
    (note,) = check_rankers(None, folder, force=True)
    assert "by force" in note
    results = Results("x", {})
    ranker = reward_ranker(folder, folder, *blind[:2], results)
    assert results.fingerprints == {"ranker": ranker.fingerprint}


def test_what_is_no_ranker_is_told(blind, tmp_path):
    assert check_rankers(None, None, force=False) == []
    with pytest.raises(DataError, match="a trained ranker is wanted"):
        check_rankers(tmp_path, force=False)
