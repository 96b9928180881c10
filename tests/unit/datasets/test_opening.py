"""Data by name."""

import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import DATASETS
from recsim_gen.core.specs import DataSpec
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


def test_a_name_that_takes_no_path_says_so():
    assert refusal("boutique:here") == "data 'boutique' takes no path, got 'here'. Write boutique"


@pytest.mark.parametrize("name", DATASETS)
def test_every_setting_has_a_line_of_help_and_a_default_of_its_type(name):
    for setting in DataSpec(name).known():
        assert setting.help, setting.name
        assert setting.read(setting.default, setting.name) == setting.default


@pytest.mark.recbole
@pytest.mark.parametrize(
    ("spec", "setting", "message"),
    [
        ("ml-100k", {"tail": "drp"}, "tail must be one of train, drop, got 'drp'"),
        ("ml-100k", {"sequence_length": 2}, "sequence_length must be 3 or more (train, valid, test), got 2"),
    ],
)
def test_a_value_that_is_none_of_its_words_is_told(spec, setting, message):
    assert refusal(spec, **setting) == message


def test_settings_go_over_those_of_the_spec():
    spec = DataSpec("boutique", {"n_items": 90, "n_users": 9})
    assert len(open_data(spec).catalog) == 90
    data = open_data(spec, n_users=4)
    assert (len(data.catalog), data.interactions.n_users) == (90, 4)


def test_an_unknown_setting_suggests():
    assert refusal("ml-100k", sequence_lenght=10).startswith(
        "unknown setting 'sequence_lenght' of data 'ml-100k'. Did you mean 'sequence_length'?"
    )


@pytest.mark.recbole
def test_settings_reach_the_loader():
    assert len(open_data("ml-100k", sequence_length=100).episodes[0].history) == 99


def test_a_path_reaches_the_loader(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/nowhere: a MovieLens folder is wanted"):
        open_data(f"movielens:{tmp_path}/nowhere")


@pytest.mark.recbole
def test_a_split_of_another_rule_is_a_setting_of_all_data():
    own = open_data("ml-100k", sequence_length=100)
    by_user = open_data("ml-100k", sequence_length=100, split="by-user", test_share=0.2)
    tested = {episode.source_user for episode in by_user.episodes}
    assert len(tested) < len({episode.source_user for episode in own.episodes})
    valid = by_user.people[by_user.interactions.user[by_user.interactions.split == "valid"]]
    assert tested.isdisjoint(valid.tolist())
    seeds = [open_data("ml-100k", split="by-user", split_seed=seed).fingerprint for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert refusal("ml-100k", split="by-usr").startswith(
        "unknown split 'by-usr'. Did you mean 'by-user'? Known: leave-last-out,"
    )
