"""Who stands in a table of generators: generators by name and settings, checkpoints, pictures brought along.

As they are written on the command line::

    sd                                   a generator of the registry, or module:Class
    ragar_literal=ragar:reading=literal  the same under a name of its own, with settings
    k0=ragar:retrieval_k=0,noises=1      several settings

separated by spaces or commas. After a comma KEY=VALUE is one more setting of the generator before, if that
has settings and VALUE is no generator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.artifacts.trained_generators import (
    check_choice,
    generator_name,
    make_generator,
    ready_generator,
    trained_generator,
)
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import GENERATORS, resolve

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator, Ranker
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.models.family import ModelFamily

CONTROLS = ("original", "placebo", "oracle")
"""What methods are set beside: the item's own picture, another of it, the truth. They are not ranked."""

_WORDS = {"true": True, "false": False, "null": None}

_WRITTEN = re.compile(
    r"(?:(?P<label>[\w.@-]+)=)?"
    r"(?P<name>[\w.]+(?::[A-Za-z_]\w*(?=:|$))?)"  # module:Class, unless "=" follows: then it is a setting
    r"(?::(?P<settings>.+))?"
)


@dataclass(frozen=True)
class Contender:
    """A line of the table: ``label``, and where its pictures come from.

    ``generator`` with ``settings``, trained here or found, or read from ``checkpoint``; or a folder or tar
    of ``images`` that somebody else made.
    """

    label: str
    generator: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None
    images: Path | None = None

    @property
    def role(self) -> str:
        """``control``, ``method`` or ``brought``."""
        if self.images is not None:
            return "brought"
        return "control" if self.generator in CONTROLS else "method"

    @property
    def wants_ranker(self) -> bool:
        """Whether it has to be trained by what a ranker says."""
        if self.images is not None or self.checkpoint is not None:
            return False
        return bool(getattr(resolve(self.generator, GENERATORS, "generator"), "uses_ranker", False))

    @property
    def told(self) -> str:
        """The settings in words, "" where all are the defaults."""
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())

    def open(
        self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None,
        seed: int,
        models: ModelFamily,
        device: str | None,
        tracker: Tracker | None = None,
    ) -> Generator:
        """The generator, ready to draw: loaded, or trained on ``episodes`` with this seed.

        Raises SettingError where this one has pictures and no generator.
        """
        if self.images is not None:
            raise SettingError(f"{self.label} has pictures ({self.images}), not a generator")
        if self.checkpoint is not None:
            return ready_generator(self.generator, self.checkpoint, catalog, models=models, device=device)
        how: dict[str, Any] = {"models": models, "settings": self.settings, "device": device}
        return trained_generator(
            self.generator, catalog, episodes, ranker=ranker, seed=seed, tracker=tracker, **how
        )


def contenders(
    generators: Sequence[str], checkpoints: Sequence[str] = (), images: Sequence[str] = ()
) -> list[Contender]:
    """All of them, in the order given; ``checkpoints`` and ``images`` are ``name=DIR``.

    A checkpoint belongs to the generator of that label, or stands by itself. Raises SettingError for an
    unknown generator, a word of another form, settings beside a checkpoint, and one label twice.
    """
    found = [_read(word) for word in _words(generators)]
    for label, folder in map(_named, checkpoints):
        made = Contender(label, generator_name(folder), checkpoint=folder)
        at = next((k for k, c in enumerate(found) if c.label == label), None)
        if at is None:
            found.append(made)
        else:
            check_choice(None, folder, found[at].settings)
            found[at] = replace(made, generator=found[at].generator)
    found += [Contender(label, images=folder) for label, folder in map(_named, images)]
    labels = [c.label for c in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice or not found:
        got = f"{twice[0]} twice" if twice else "none"
        raise SettingError(f"each line of the table needs a name of its own, got {got}. Write name=generator")
    return found


def check_settings(found: Sequence[Contender], models: ModelFamily) -> None:
    """Raise SettingError for a setting that a generator has not, MissingDependency for models that are
    not to be had; trains nothing and reads no data.
    """
    for c in found:
        if c.images is None:
            made = make_generator(c.generator, c.settings, models=models, device="cpu")
            models.require(*getattr(made, "roles", ()))


def _words(generators: Sequence[str]) -> list[str]:
    """Split at commas, but for those between the settings of one generator."""
    words: list[str] = []
    for given in generators:
        listed: list[str] = []
        for part in filter(None, given.split(",")):
            _, equals, value = part.partition("=")
            setting = equals and ":" not in part and value not in GENERATORS
            if setting and listed and ":" in listed[-1]:
                listed[-1] += f",{part}"
            else:
                listed.append(part)
        words += listed
    return words


def _read(word: str) -> Contender:
    found = _WRITTEN.fullmatch(word)
    if found is None:
        raise SettingError(f"a generator is NAME, or LABEL=NAME:SETTING=VALUE,…, got {word!r}")
    plain, _, rest = found["name"].partition(":")
    if rest and plain in GENERATORS:
        raise SettingError(f"{word}: a setting is NAME=VALUE, got {rest!r}")
    check_choice(found["name"], None, None)
    pairs = [part.partition("=") for part in (found["settings"] or "").split(",") if part]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise SettingError(f"{word}: a setting is NAME=VALUE, got {key!r}")
    settings = {key: value_of(value) for key, _, value in pairs}
    return Contender(found["label"] or found["name"], found["name"], settings)


def value_of(text: str) -> Any:
    """A whole number, a number, true, false or null; else the text as it stands ("{caption}", "no")."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return _WORDS.get(text, text)


def _named(word: str) -> tuple[str, Path]:
    label, equals, folder = word.partition("=")
    if not (label and equals and folder):
        raise SettingError(f"name=DIR is wanted, got {word!r}")
    return label, Path(folder)
