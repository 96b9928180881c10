"""Data by name."""

import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.opening import open_data


def refusal(*args, **settings):
    with pytest.raises(SettingError) as caught:
        open_data(*args, **settings)
    return str(caught.value)


def test_an_unknown_name_suggests():
    message = refusal("movielen:somewhere")
    assert message.startswith("unknown data 'movielen'. Did you mean 'movielens'? Known: boutique, ml-100k,")


@pytest.mark.parametrize("spec", ["movielens", "movielens:"])
def test_a_name_that_needs_a_path_says_so(spec):
    assert refusal(spec) == "data 'movielens' needs its folder, got none. Write movielens:PATH"


def test_an_unknown_setting_suggests():
    assert refusal("ml-100k", sequence_lenght=10).startswith(
        "unknown setting 'sequence_lenght' of data 'ml-100k'. Did you mean 'sequence_length'?"
    )


def test_settings_reach_the_loader():
    assert len(open_data("ml-100k", sequence_length=100).episodes[0].history) == 99


def test_a_path_reaches_the_loader(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/nowhere: a MovieLens folder is wanted"):
        open_data(f"movielens:{tmp_path}/nowhere")


def test_a_split_of_another_rule_is_a_setting_of_all_data():
    own = open_data("ml-100k", sequence_length=100)
    by_user = open_data("ml-100k", sequence_length=100, split="by-user", test_share=0.2)
    tested = {episode.source_user for episode in by_user.episodes}
    assert len(tested) < len({episode.source_user for episode in own.episodes})
    valid = by_user.interactions.user_ids[by_user.interactions.user[by_user.interactions.split == "valid"]]
    assert tested.isdisjoint(name.partition("/")[0] for name in valid.tolist())
    seeds = [open_data("ml-100k", split="by-user", split_seed=seed).fingerprint for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert refusal("ml-100k", split="by-usr").startswith(
        "unknown split 'by-usr'. Did you mean 'by-user'? Known: leave-last-out,"
    )
