"""Names to classes, settings to configs: what is unknown or unfit is told."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import DATASETS, ENCODERS, RANKERS, did_you_mean, resolve, with_settings


@dataclass(frozen=True)
class Config:
    """One field of each kind."""

    epochs: int = 3
    rate: float = 0.1
    how: Literal["mean", "sum"] = "mean"
    loud: bool = False
    name: str = "x"
    sizes: tuple[int, ...] = (1, 2)
    limit: int | None = None
    other: Any = None


@pytest.mark.parametrize("table", [RANKERS, DATASETS, ENCODERS], ids=["rankers", "datasets", "encoders"])
def test_every_registered_name_is_there(table):
    for name in table:
        assert callable(resolve(name, table, "thing"))


def test_a_class_of_the_readers_own_needs_no_registration(tmp_path, monkeypatch):
    (tmp_path / "mine_a1.py").write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("mine_a1:Mine", RANKERS, "ranker").__name__ == "Mine"
    with pytest.raises(SettingError, match=r"ranker 'mine_a1:Yours': 'mine_a1' has no 'Yours'"):
        resolve("mine_a1:Yours", RANKERS, "ranker")
    with pytest.raises(SettingError, match=r"no module 'no_such_module_a1'"):
        resolve("no_such_module_a1:X", RANKERS, "ranker")


def test_a_fault_inside_a_module_is_not_taken_for_a_missing_one(tmp_path, monkeypatch):
    (tmp_path / "broken_a1.py").write_text("import no_such_thing_a1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing_a1"):
        resolve("broken_a1:X", RANKERS, "ranker")


def test_unknown_names_are_told_with_what_is_near():
    with pytest.raises(SettingError, match=r"unknown ranker 'mcro'. Did you mean 'micro'\? Known: micro"):
        resolve("mcro", RANKERS, "ranker")
    assert did_you_mean("zzz", ["a", "b"]) == " Known: a, b."


def test_settings_that_fit_are_taken():
    given = {"epochs": np.int64(5), "rate": 1, "how": "sum", "loud": True, "sizes": [3], "limit": None}
    config = with_settings(Config, given)
    assert (config.epochs, config.rate, config.how, config.loud) == (5, 1, "sum", True)
    assert with_settings(Config, {}) == Config()
    assert with_settings(Config, {"rate": np.float32(0.5), "other": {1}}).rate == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epohcs": 1}, r"unknown setting 'epohcs' of Config. Did you mean 'epochs'\?"),
        ({"epochs": "ten"}, "'epochs' of Config must be int, got 'ten'"),
        ({"epochs": 1.5}, "must be int, got 1.5"),
        ({"epochs": True}, "must be int, got True"),
        ({"rate": "1e-3"}, "must be float, got '1e-3'"),
        ({"rate": None}, "must be float, got None"),
        ({"loud": 1}, "must be bool, got 1"),
        ({"name": 3}, "must be str, got 3"),
        ({"how": "median"}, "must be one of mean, sum, got 'median'"),
        ({"how": ["mean"]}, r"must be one of mean, sum, got \['mean'\]"),
    ],
)
def test_settings_that_do_not_fit_are_told(given, message):
    with pytest.raises(SettingError, match=message):
        with_settings(Config, given)
