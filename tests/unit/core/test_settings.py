"""Settings: found in the code that takes them, with their types, defaults and lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import DATASETS, GENERATORS, RANKERS
from recsim_gen.core.settings import REQUIRED, Setting, settings_of
from recsim_gen.core.specs import DataSpec, GeneratorSpec, RankerSpec

PARTS = [
    *(RankerSpec(name) for name in RANKERS),
    *(GeneratorSpec(name) for name in GENERATORS),
    *(DataSpec(name) for name in DATASETS),
]


@dataclass
class Base:
    """A config."""

    k: int = 5  # "fixed to 5" (Sec. 5.1); 0: all
    rate: float = 0.1  # of learning
    sizes: tuple[int, ...] = field(default=(1, 2))  # of layers


@dataclass
class Config(Base):
    """One that inherits."""

    rate: float = 0.2  # higher


def test_a_dataclass_and_its_bases_say_what_there_is_to_set():
    assert settings_of(Config) == [
        Setting("k", int, 5, '"fixed to 5" (Sec. 5.1); 0: all'),
        Setting("rate", float, 0.2, "higher"),
        Setting("sizes", tuple[int, ...], (1, 2), "of layers"),
    ]


def test_so_do_the_parameters_of_a_function():
    def loader(
        path: str,
        *,
        seed: int = 0,  # of the draws
        name: str = "x",
    ) -> None:
        """Load."""

    assert settings_of(loader, without=("path",)) == [
        Setting("seed", int, 0, "of the draws"),
        Setting("name", str, "x", ""),
    ]
    assert settings_of(loader)[0].default is REQUIRED


@pytest.mark.parametrize("spec", PARTS, ids=lambda spec: f"{spec.what} {spec.name}")
def test_every_setting_has_a_line_of_help_and_a_type_that_its_default_is_of(spec):
    for setting in spec.known():
        assert setting.help, f"{spec.what} {spec.name}: {setting.name} has no comment beside it"
        value = setting.read(setting.default, setting.name)
        assert (value, type(value)) == (setting.default, type(setting.default))


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, "3.5", "x must be a whole number, got '3.5'"),
        (int, 3.5, "x must be a whole number, got 3.5"),
        (int, True, "x must be a whole number, got True"),
        (int, None, "x must be a whole number, got None"),
        (float, "fast", "x must be a number, got 'fast'"),
        (bool, "maybe", "x must be true or false, got 'maybe'"),
        (str, 3, "x must be text, got 3"),
        (Literal["graph", "item"], "grph", "x must be one of graph, item, got 'grph'. Did you mean 'graph'?"),
        (Literal["graph", "item"], "zzz", "x must be one of graph, item, got 'zzz'"),
        (
            int | Literal["all"] | None,
            "al",
            "x must be a whole number or all or null, got 'al'. Did you mean 'all'?",
        ),
        (tuple[int, ...], "[1, x]", "x must be a list, each a whole number, got '[1, x]'"),
        (dict[str, str], "a", "x must be NAME: VALUE pairs, got 'a'"),
    ],
)
def test_a_value_of_another_type_is_told(hint, value, message):
    with pytest.raises(SettingError) as error:
        Setting("setting", hint).read(value, "x")
    assert str(error.value) == message
