"""Users who like two themes: what their histories and references hold."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.themes import theme_episodes

THEMES = np.repeat(np.array(["cats", "dogs", "tea", "rain", "alone"]), [4, 15, 9, 2, 1])[
    np.random.default_rng(0).permutation(31)
]


def made(reference="another", n_users=300, **settings):
    return theme_episodes(THEMES, rng=Rng(0), n_users=n_users, reference=reference, **settings)


@pytest.mark.parametrize("length", [2, 5, 20])
def test_a_history_is_of_two_themes_and_the_reference_of_another(length):
    chosen, episodes = made(history_length=length)
    for episode in episodes:
        themes = set(THEMES[list(episode.history)])
        assert THEMES[episode.reference] not in themes
        assert len(themes) <= 2
        assert "alone" not in themes
        assert 2 <= len(episode.history) <= length
    sizes = {len(e.history) for e in episodes}
    assert max(sizes) == length
    assert len(chosen) == sum(len(e.history) + 1 for e in episodes)


def test_own_themes_hold_the_reference_on_demand():
    _, episodes = made("own")
    assert len(episodes) == 300
    for episode in episodes:
        assert episode.reference not in episode.history
    drawn = [THEMES[e.reference] in set(THEMES[list(e.history)]) for e in episodes]
    assert np.mean(drawn) > 0.9  # the rest: the only item of its theme that was drawn


def test_references_are_uniform_over_what_is_outside():
    _, episodes = made(n_users=60_000)
    pair = [e for e in episodes if set(THEMES[list(e.history)]) == {"cats", "dogs"}]
    counts = np.bincount([e.reference for e in pair], minlength=len(THEMES))
    outside = ~np.isin(THEMES, ["cats", "dogs"])
    assert counts[~outside].sum() == 0
    expected = len(pair) / outside.sum()
    assert np.abs(counts[outside] - expected).max() < 5 * np.sqrt(expected)


def test_more_users_leave_the_first_as_they_are():
    few, many = made("own", n_users=20)[1], made("own", n_users=200)[1]
    assert [(e.history, e.reference) for e in few] == [(e.history, e.reference) for e in many[:20]]
    assert made()[0].fingerprint == made()[0].fingerprint


def test_everybody_is_learned_from_selected_on_and_tested():
    chosen, _ = made(history_length=2)
    for split in ("train", "valid", "test"):
        assert (np.bincount(chosen.user[chosen.split == split], minlength=300) == 1).all()


def test_too_few_themes_and_settings_out_of_range():
    with pytest.raises(DataError, match="three themes are wanted"):
        theme_episodes(np.array(["a", "a", "b", "b"]), rng=Rng(0))
    with pytest.raises(SettingError, match="history_length 2 or more, got 300 and 1"):
        made(history_length=1)
    with pytest.raises(SettingError, match="reference must be one of another, own, got 'any'"):
        made("any")
