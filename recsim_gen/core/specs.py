"""Specifications of registered parts, as given to a command: a name and the settings that are not default."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import (
    DATASETS,
    ENCODERS,
    GENERATORS,
    LAYOUT_ADVICE,
    PREPARED,
    RANKER_CONFIGS,
    RANKERS,
    SUBJECT_GENERATORS,
    did_you_mean,
    nearest,
    resolve,
    with_settings,
)
from recsim_gen.core.settings import REQUIRED, Setting, settings_of

PIPELINE = "pipeline"
"""Name of the generator that wraps any pipeline class of diffusers."""

_SEEDED = re.compile(r"(?P<ranker>[^/\\@]+)(?:@(?P<encoder>.+))?-seed(?P<seed>\d+)")


@dataclass(frozen=True)
class Spec:
    """Base class: a part by ``name`` with ``settings``; subclasses define the valid names and settings.

    Parameters
    ----------
    name
        Name in the registry, or the form that the subclass describes.
    settings
        {setting: value}, only those that differ from the default.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    what: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.name:
            raise SettingError(f"a {self.what} needs a name, got none")

    def known(self) -> list[Setting]:
        """Return all settings, with types and defaults. Raises SettingError for an unknown name."""
        raise NotImplementedError

    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return named groups of settings, {recipe: {setting: value}}; most parts have none."""
        return {}

    def check(self) -> None:
        """Raise SettingError for an invalid name or setting; loads no model and no data."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class RankerSpec(Spec):
    """A ranker: ``NAME``, ``NAME:RECIPE`` (``micro:published-code``) or ``module:Class``."""

    name: str = "micro"
    what: ClassVar[str] = "ranker"

    @property
    def parts(self) -> tuple[str, str]:
        """Return (name in the registry or ``module:Class``, recipe or "")."""
        name, _, recipe = self.name.partition(":")
        if recipe and name not in RANKERS and _importable(name):
            return self.name, ""
        return name, recipe

    def known(self) -> list[Setting]:
        """Return the fields of its config class, with the values of the recipe as defaults.

        Raises SettingError for an unknown name or recipe.
        """
        config, recipe = self._config()
        return [replace(s, default=recipe.get(s.name, s.default)) for s in settings_of(config)]

    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the recipes of its config class."""
        return _recipes(self._config()[0])

    def check(self) -> None:
        """Raise SettingError for an unknown name, recipe or setting, and for invalid values."""
        name, recipe = self.parts
        if self.config() is None:
            settings = {"recipe": recipe, **self.settings} if recipe else self.settings
            resolve(name, RANKERS, self.what)(device="cpu", **settings)

    def config(self) -> Any:
        """Return the settings as a config instance, without importing the ranker's class (which is slow).

        None for a user-defined class. Raises SettingError as `check` does.
        """
        if self.parts[0] not in RANKER_CONFIGS:
            return None
        config, values = self._config()
        own = {name: value for name, value in self.settings.items() if name != "recipe"}
        return with_settings(config, {**values, **own})

    def _config(self) -> tuple[type[Any], Mapping[str, Any]]:
        """Return the config class and the values of the recipe."""
        name, recipe = self.parts
        if name in RANKER_CONFIGS:
            config = resolve(name, RANKER_CONFIGS, self.what)
        else:
            config = resolve(name, RANKERS, self.what).config_class
        recipes = getattr(config, "recipes", {"default": {}})
        recipe = self.settings.get("recipe", recipe)
        if recipe and recipe not in recipes:
            raise SettingError(f"unknown recipe {recipe!r} of {name}.{did_you_mean(recipe, recipes)}")
        return config, recipes[recipe or "default"]


@dataclass(frozen=True)
class GeneratorSpec(Spec):
    """A generator: ``NAME``, ``module:Class``, or ``pipeline:CLASS`` for a pipeline class of diffusers."""

    what: ClassVar[str] = "generator"

    def __post_init__(self) -> None:
        super().__post_init__()
        name, _, pipeline = self.name.partition(":")
        if name == PIPELINE and pipeline:
            object.__setattr__(self, "name", name)
            object.__setattr__(self, "settings", {"pipeline": pipeline, **self.settings})

    def known(self) -> list[Setting]:
        """Return the fields of its config class and, for a diffusers pipeline, the arguments of its call."""
        generator = resolve(self.name, GENERATORS, self.what)
        pipeline = self.settings.get("pipeline") if self.name == PIPELINE else None
        return [*settings_of(generator.config_class), *(generator.arguments(pipeline) if pipeline else ())]

    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the recipes of its config class."""
        return _recipes(resolve(self.name, GENERATORS, self.what).config_class)

    def check(self) -> None:
        """Raise SettingError for a name that is neither in the registry nor an importable class."""
        if self.name not in GENERATORS:
            resolve(self.name, GENERATORS, self.what)
        elif self.name == PIPELINE:
            self.known()


@dataclass(frozen=True)
class SubjectGeneratorSpec(Spec):
    """A subject-driven method: ``NAME`` or ``module:Class``."""

    what: ClassVar[str] = "subject-driven method"

    def known(self) -> list[Setting]:
        """Return the fields of its config class."""
        return settings_of(resolve(self.name, SUBJECT_GENERATORS, self.what).config_class)

    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the recipes of its config class."""
        return _recipes(resolve(self.name, SUBJECT_GENERATORS, self.what).config_class)


@dataclass(frozen=True)
class DataSpec(Spec):
    """Data: ``NAME`` or ``NAME:PATH``, or ``module:function``, which may also be followed by a path."""

    name: str = "boutique"
    what: ClassVar[str] = "data"

    @property
    def parts(self) -> tuple[str, str]:
        """Return (name in the registry or ``module:function``, path or "").

        Raises SettingError for an unknown name; if the name is a folder, the message lists the layouts that
        fit it.
        """
        name, _, path = self.name.partition(":")
        if name in DATASETS:
            return name, path
        if Path(self.name).expanduser().is_dir():
            advice = resolve(LAYOUT_ADVICE, {}, self.what)(Path(self.name).expanduser())
            raise SettingError(f"data must be NAME:DIR, got a folder without a name, {self.name!r}. {advice}")
        if path and _importable(name):
            function, _, path = path.partition(":")
            return f"{name}:{function}", path
        near = did_you_mean(name, DATASETS)
        if path and "Did you mean" not in near:
            raise SettingError(f"unknown data {name!r}: there is no layout and no module of this name.{near}")
        raise SettingError(f"unknown data {name!r}.{near}")

    def known(self) -> list[Setting]:
        """Return the parameters of its loader, and the settings that all data have."""
        loader = resolve(self.parts[0], DATASETS, self.what)
        shared = resolve(PREPARED, {}, self.what)
        return [*settings_of(loader, without=("path",)), *settings_of(shared, without=("dataset",))]

    def check(self) -> None:
        """Raise SettingError for an unknown name, a missing path or a path that is not needed."""
        name, path = self.parts
        taken = {s.name: s.default for s in settings_of(resolve(name, DATASETS, self.what))}
        if path and "path" not in taken:
            raise SettingError(f"data {name!r} takes no path, got {path!r}. Write {name}")
        if not path and taken.get("path") is REQUIRED:
            raise SettingError(f"data {name!r} needs its folder, got none. Write {name}:PATH")


@dataclass(frozen=True)
class JudgeSpec(Spec):
    """A judge: a ranker to train here with a seed, ``NAME-seedN``, or the folder of a trained one.

    ``NAME@ENCODER-seedN`` uses its own image encoder, ``NAME-seedN`` that of the command
    (``--encoders.image``), and a trained judge the encoders of its training. Write ``./micro-seed0`` for a
    folder in the working directory whose name looks like a ranker to train.
    """

    what: ClassVar[str] = "judge"

    @property
    def folder(self) -> Path | None:
        """Folder of the trained ranker; None for a ranker to train. Raises SettingError for anything else."""
        path = Path(self.name).expanduser()
        if path.is_dir() and not _SEEDED.fullmatch(self.name):
            return path
        self._seeded()
        return None

    @property
    def ranker(self) -> RankerSpec:
        """The ranker to train."""
        return RankerSpec(self._seeded()["ranker"], self.settings)

    @property
    def encoder(self) -> str | None:
        """Its image encoder, as for --encoders.image; None: that of the command."""
        encoder: str | None = self._seeded()["encoder"]
        return encoder

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self._seeded()["seed"])

    def known(self) -> list[Setting]:
        """Return the settings of the ranker to train; a trained one has none."""
        return [] if self.folder else self.ranker.known()

    def check(self) -> None:
        """Raise SettingError for an invalid ranker or encoder; a folder is checked by `judging.judges`."""
        if self.folder is not None:
            return
        self.ranker.check()
        if self.encoder is not None:
            check_encoder(self.encoder)

    def _seeded(self) -> re.Match[str]:
        """Match the name as ``…-seedN``. Raises SettingError if it has another form."""
        parts = _SEEDED.fullmatch(self.name)
        if parts is None:
            raise SettingError(
                f"a judge is NAME-seedN (micro-seed0) or a folder that train_ranker wrote, got {self.name!r}"
            )
        return parts


def parts_of(name: str) -> list[Spec]:
    """Return the specs of all rankers, generators, subject-driven methods and data of this name.

    Raises SettingError if there is none.
    """
    first = name.partition(":")[0]
    tables: tuple[tuple[Mapping[str, str], type[Spec]], ...] = (
        (RANKERS, RankerSpec),
        (GENERATORS, GeneratorSpec),
        (SUBJECT_GENERATORS, SubjectGeneratorSpec),
        (DATASETS, DataSpec),
    )
    if specs := [kind(name) for table, kind in tables if first in table]:
        return specs
    known = {name: target for table, _ in tables for name, target in table.items()}
    try:
        own = resolve(name, known, "ranker, generator or data")
    except SettingError as error:
        near = nearest(first, known) if ":" in name else ""
        raise SettingError(f"{error}{near and '.'}{near}") from error
    if not hasattr(own, "config_class"):
        return [DataSpec(name)]
    if hasattr(own, "generate"):
        return [GeneratorSpec(name)]
    return [SubjectGeneratorSpec(name) if hasattr(own, "draw") else RankerSpec(name)]


def check_encoder(spec: str) -> None:
    """Raise SettingError unless ``spec`` is an encoder of the registry or an importable class."""
    name = spec.partition(":")[0]
    if name in ENCODERS:
        return
    try:
        resolve(spec, ENCODERS, "encoder")
    except SettingError as error:
        hint = did_you_mean(name, ENCODERS) if ":" in spec else ""
        raise SettingError(f"{error}{hint}") from error


def _recipes(config: type[Any]) -> Mapping[str, Mapping[str, Any]]:
    recipes: Mapping[str, Mapping[str, Any]] = getattr(config, "recipes", {})
    return recipes


def _importable(module: str) -> bool:
    """Return whether a module of this name exists, without importing it (but its parent packages are)."""
    try:
        return all(map(str.isidentifier, module.split("."))) and importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False
