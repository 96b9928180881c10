"""Rows of a table of generators: generators by name and settings, checkpoints, images from elsewhere.

As written on the command line::

    sd                                   a generator of the registry, module:Class, or pipeline:CLASS
    ragar_literal=ragar:reading=literal  the same with a name of its own and settings
    k0=ragar:k=0,noises=1                several settings, each parsed by its type

separated by spaces or commas. After a comma, KEY=VALUE is a further setting of the generator before it, if
that has settings and VALUE is not a generator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from recsim_gen.artifacts.trained_generators import (
    Training,
    generator_name,
    make_generator,
    ready_generator,
    trained_generator,
)
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, did_you_mean
from recsim_gen.core.specs import PIPELINE, GeneratorSpec, Spec

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Dataset, Episode
    from recsim_gen.judging.judges import Judge
    from recsim_gen.models.family import ModelFamily

CONTROLS = ("original", "placebo", "oracle", "oracle_sd")
"""Controls: the item's own image, another of it, the truth. They are not ranked."""

_WRITTEN = re.compile(
    r"(?:(?P<label>[\w.@-]+)=)?"
    r"(?P<name>[\w.]+(?::[A-Za-z_]\w*(?=:|$))?)"  # module:Class, unless followed by "=": then it is a setting
    r"(?::(?P<settings>.+))?"
)


@dataclass(frozen=True)
class Method:
    """A row of the table: ``label``, and where its images come from.

    ``spec`` is a generator that is trained here, or loaded from ``checkpoint``; None if ``images`` is a
    folder or tar.
    """

    label: str
    spec: GeneratorSpec | None = None
    checkpoint: Path | None = None
    images: Path | None = None

    @property
    def generator(self) -> str:
        """Name of the generator; "" if there is none."""
        return "" if self.spec is None else self.spec.name

    @property
    def role(self) -> Literal["control", "method", "brought"]:
        """``control``, ``method``, or ``brought`` for images from elsewhere."""
        if self.images is not None:
            return "brought"
        return "control" if self.generator in CONTROLS else "method"

    @cached_property
    def untrained(self) -> Generator | None:
        """The untrained generator with its settings if it is trained here, else None."""
        if self.spec is None or self.checkpoint is not None:
            return None
        return make_generator(self.spec, device="cpu")

    @property
    def learns(self) -> bool:
        """Whether it must be trained here."""
        return self.untrained is not None and self.untrained.learns

    @property
    def uses_ranker(self) -> bool:
        """Whether it must be trained here with a ranker's scores."""
        return self.untrained is not None and self.untrained.uses_ranker

    @property
    def settings_text(self) -> str:
        """``NAME=VALUE, …`` of the settings that differ from the defaults, "" for none."""
        settings = {} if self.spec is None else self.spec.settings
        return ", ".join(f"{name}={value}" for name, value in settings.items())

    def open(
        self,
        dataset: Dataset,
        episodes: Sequence[Episode],
        *,
        judge: Judge | None,
        seed: int,
        models: ModelFamily,
        device: str | None,
        tracker: Tracker | None = None,
    ) -> Generator:
        """Return the generator, ready to draw: loaded, or trained on ``episodes`` with this seed.

        ``judge`` gives the reward if it `uses_ranker`, and is ignored otherwise. Raises SettingError if the
        method has images and no generator.
        """
        if self.spec is None:
            raise SettingError(f"{self.label} has images ({self.images}), not a generator")
        if self.checkpoint is not None:
            return ready_generator(self.spec, self.checkpoint, dataset, models=models, device=device)
        training = self.training(dataset, judge=judge, seed=seed)
        return trained_generator(
            training.spec,
            training.catalog,
            episodes,
            ranker=training.ranker,
            seed=seed,
            models=models,
            device=device,
            run=tracker.child(self.label) if tracker is not None and self.learns else None,
        )

    def training(self, dataset: Dataset, *, judge: Judge | None, seed: int) -> Training:
        """Return the training that `open` runs if there is neither checkpoint nor images."""
        assert self.spec is not None
        if judge is None:
            return Training(self.spec, dataset.catalog, None, seed)
        return Training(self.spec, judge.catalog, judge.ranker, seed)


def read_methods(
    generators: Sequence[str], checkpoints: Sequence[str] = (), images: Sequence[str] = ()
) -> list[Method]:
    """Return all methods, in the order given; ``checkpoints`` and ``images`` are ``label=DIR``.

    A checkpoint belongs to the generator with that label, or is a row of its own. Raises SettingError for an
    unknown generator or setting, a value of the wrong type, a malformed word, settings of a checkpoint, and a
    repeated label.
    """
    methods = [Method(label, spec) for label, spec in read_specs(generators, GeneratorSpec, GENERATORS)]
    for label, folder in map(_named, checkpoints):
        loaded = Method(label, GeneratorSpec(generator_name(folder)), checkpoint=folder)
        place = next((k for k, method in enumerate(methods) if method.label == label), None)
        if place is None:
            methods.append(loaded)
        elif methods[place].settings_text:
            raise SettingError(f"{label}: a checkpoint has its own settings: leave out these or --checkpoint")
        else:
            methods[place] = replace(methods[place], checkpoint=folder)
    methods += [Method(label, images=folder) for label, folder in map(_named, images)]
    labels = [method.label for method in methods]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated or not methods:
        got = f"{repeated[0]} twice" if repeated else "none"
        raise SettingError(f"each line of the table needs a name of its own, got {got}. Write name=generator")
    return methods


def check_settings(methods: Sequence[Method], models: ModelFamily) -> None:
    """Raise SettingError for contradicting settings, MissingDependency for models without files.

    Trains nothing and reads no data.
    """
    for method in methods:
        if method.spec is not None:
            made = make_generator(method.spec, models=models, device="cpu")
            made.family.require(*made.roles)  # including those of a pipeline


def check_controls(methods: Sequence[Method], models: ModelFamily, dataset: Dataset) -> None:
    """Raise SettingError or DataError for a control that is impossible with this data.

    That is a placebo without other images, an oracle without known preferences, and an original without
    images. Trains and draws nothing.
    """
    images = dataset.catalog.images
    for method in methods:
        if method.spec is None or method.checkpoint is not None or method.generator not in CONTROLS:
            continue
        make_generator(method.spec, models=models, device="cpu").fit(dataset.catalog, (), rng=Rng(0))
        if method.generator == "original" and (images is None or not images.present.any()):
            raise DataError(f"{method.label} shows the items' own pictures, {dataset.name} has none")


AnySpec = TypeVar("AnySpec", bound=Spec)


def read_specs(
    texts: Sequence[str], kind: type[AnySpec], known: Mapping[str, str]
) -> list[tuple[str, AnySpec]]:
    """Return (label, spec) of each part, in the syntax of this module; ``known`` is the table of ``kind``.

    Raises SettingError for an unknown name or setting, a value of the wrong type, and a malformed word.
    """
    return [_read(word, kind, known) for word in _words(texts, known)]


def _words(texts: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Split at commas, except those between the settings of one part."""
    words: list[str] = []
    for text in texts:
        listed: list[str] = []
        for part in filter(None, text.split(",")):
            _, equals, value = part.partition("=")
            setting = equals and ":" not in part and value not in known
            if setting and listed and ":" in listed[-1]:
                listed[-1] += f",{part}"
            else:
                listed.append(part)
        words += listed
    return words


def _read(word: str, kind: type[AnySpec], known: Mapping[str, str]) -> tuple[str, AnySpec]:
    """Parse one word of the command line, with its settings by their types."""
    parts = _WRITTEN.fullmatch(word)
    if parts is None:
        raise SettingError(f"a {kind.what} is NAME, or LABEL=NAME:SETTING=VALUE,…, got {word!r}")
    name = parts["name"]
    plain, _, rest = name.partition(":")
    if rest and plain in known and plain != PIPELINE:
        raise SettingError(f"{word}: a setting is NAME=VALUE, got {rest!r}")
    settable = {setting.name: setting for setting in kind(name).known()}
    settings = {}
    for part in filter(None, (parts["settings"] or "").split(",")):
        key, equals, text = part.partition("=")
        if not (key and equals):
            raise SettingError(f"{word}: a setting is NAME=VALUE, got {key!r}")
        if key not in settable:
            raise SettingError(f"unknown setting {key!r} of {kind.what} {name}.{did_you_mean(key, settable)}")
        settings[key] = settable[key].read(text, f"setting {key!r} of {kind.what} {name}")
    return parts["label"] or name, kind(name, settings)


def _named(word: str) -> tuple[str, Path]:
    label, equals, folder = word.partition("=")
    if not (label and equals and folder):
        raise SettingError(f"name=DIR is wanted, got {word!r}")
    return label, Path(folder)
