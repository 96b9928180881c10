"""Fields of an options dataclass: their names, and how what the user wrote becomes their values."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from recsim_gen.core.command_line.names import option, plain_name, settings_name
from recsim_gen.core.command_line.written import Given, Written
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.settings import REQUIRED, Setting, settings_of
from recsim_gen.core.specs import Spec


@dataclass(frozen=True)
class Field(Setting):
    """A field with a single value: ``--tracking-uri URI``."""

    @property
    def key(self) -> str:
        """Its name in option files and results."""
        return plain_name(self.name)

    @property
    def options(self) -> list[str]:
        """Its options, as ``--help`` lists them."""
        return [option(self.name)]

    @property
    def entries_key(self) -> str:
        """Name of the field if it has entries (``encoders`` of ``--encoders.text words``), else ""."""
        return ""

    @property
    def several(self) -> bool:
        """Whether it is a tuple."""
        return get_origin(_bare(self.hint)) is tuple

    def value(self, given: Given) -> Any:
        """Return the given value, or the default. Raises SettingError for a value of the wrong type."""
        written = given.values.get(self.key)
        if written is None:
            return self.default
        if not self.several or written.is_null:
            return self.read(written.one(), written.label)
        item, label = Setting(self.name, _item(self.hint)), f"{written.where}each of {written.name}"
        return tuple(item.read(value, label) for value in written.several())


class Flag(Field):
    """A boolean: ``--quiet``; ``--no-verify`` if the default is true."""

    @property
    def options(self) -> list[str]:
        """The option that changes the default."""
        return [self.negative if self.default else option(self.name)]

    @property
    def negative(self) -> str:
        """The option that sets it to false: ``--no-verify``."""
        return f"--no-{option(self.name).removeprefix('--')}"

    def value(self, given: Given) -> Any:
        """As `Field.value`; the option without a value means true."""
        written = given.values.get(self.key)
        return True if written and written.words == [] else super().value(given)


class Entries(Field):
    """A dataclass or a dict: ``--verifier.epochs 5``, ``--encoders.text words``."""

    @property
    def entries_key(self) -> str:
        """The name of the field."""
        return self.key

    @property
    def settings(self) -> Sequence[Setting]:
        """The fields of a dataclass; empty for a dict, which accepts any name."""
        kind = _bare(self.hint)
        return () if get_origin(kind) is dict else settings_of(kind)

    def value(self, given: Given) -> Any:
        """As `Field.value`: the default, updated with the given entries."""
        entries = given.entries.get(self.key, {})
        if self.settings:
            return replace(self.default, **_typed(entries, self.settings, self.key))
        value_hint = get_args(_bare(self.hint))[1]
        typed = _typed(entries, [Setting(name, value_hint) for name in entries], self.key)
        return {**(self.default or {}), **typed} if typed else self.default


class Part(Field):
    """A part of a registry, or a tuple of parts, with settings: ``--ranker micro --ranker-settings.k 3``."""

    @property
    def spec(self) -> type[Spec]:
        """Class of the values."""
        spec: type[Spec] = _item(self.hint)
        return spec

    @property
    def entries_key(self) -> str:
        """Name of the settings of the part."""
        return settings_name(self.name, self.spec)

    @property
    def options(self) -> list[str]:
        """The option for the name, and the option for the settings."""
        return [option(self.name), option(self.entries_key)]

    def named(self, given: Given) -> list[Spec]:
        """Return the parts that were named, or else the default ones, without the given settings."""
        written = given.values.get(self.key)
        if written is None:
            return list(self.default) if self.several else [self.default] if self.default else []
        if written.is_null and NoneType in get_args(self.hint):
            return []
        names = written.several() if self.several else [written.one()]
        return [self.spec(Setting(self.name, str).read(name, written.label)) for name in names]

    def value(self, given: Given) -> Any:
        """As `Field.value`: each part with the given settings.

        In a list of parts, a part without any settings is left unchanged, so that one command can serve the
        whole list.
        """
        specs = self.named(given)
        if entries := given.entries.get(self.entries_key):
            specs = self._with_settings(specs, entries)
        return tuple(specs) if self.several else specs[0] if specs else None

    def _with_settings(self, specs: Sequence[Spec], entries: Mapping[str, Written]) -> list[Spec]:
        """Return the parts with these settings; SettingError if no part has them."""
        what, label = self.spec.what, next(iter(entries.values())).label
        if not specs:
            raise SettingError(f"{label} is a setting of a {what}: give {option(self.name)} as well")
        own = [spec.known() for spec in specs]
        if not any(own):
            names = ", ".join(spec.name for spec in specs)
            raise SettingError(f"{label} cannot be given: {what} {names} has nothing to set")
        return [
            replace(spec, settings={**spec.settings, **_typed(entries, settings, f"{what} {spec.name}")})
            if settings
            else spec
            for spec, settings in zip(specs, own, strict=True)
        ]


def options_class(main: Callable[[Any], Any]) -> type[Any]:
    """Return the options dataclass that the function of a command takes."""
    (name,) = inspect.signature(main).parameters
    options: type[Any] = get_type_hints(main)[name]
    return options


def fields_of(options: type[Any]) -> list[Field]:
    """Return the fields of an options dataclass: the command's own first, then those it inherits.

    Raises TypeError if a field lacks a type, a default or a description, or a description lacks a field.
    """
    settings = {setting.name: setting for setting in settings_of(options)}
    lines: dict[str, str] = {}
    for source in options.__mro__[:-1]:
        lines |= {name: text for name, text in _documented(source).items() if name not in lines}
    for name in {**settings, **lines}:
        has_default = name in settings and settings[name].default is not REQUIRED
        if not (has_default and lines.get(name)):
            raise TypeError(f"{options.__qualname__}.{name} needs a type, a default and a description")
    documented = [replace(settings[name], help=text) for name, text in lines.items()]
    return [_kind(setting.hint)(**vars(setting)) for setting in documented]


def _kind(hint: Any) -> type[Field]:
    """Return the subclass of `Field` for this type."""
    item, bare = _item(hint), _bare(hint)
    if inspect.isclass(item) and issubclass(item, Spec):
        return Part
    if dataclasses.is_dataclass(bare) or get_origin(bare) is dict:
        return Entries
    return Flag if hint is bool else Field


def _bare(hint: Any) -> Any:
    """Return ``X`` of ``X | None``."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return parts[0] if get_origin(hint) in (Union, UnionType) and len(parts) == 1 else hint


def _item(hint: Any) -> Any:
    """Return ``X`` of ``tuple[X, ...]``."""
    bare = _bare(hint)
    return get_args(bare)[0] if get_origin(bare) is tuple else bare


def _typed(entries: Mapping[str, Written], settings: Sequence[Setting], of: str) -> dict[str, Any]:
    """Convert the entries to the types of the settings. Raises SettingError for an unknown setting."""
    own = {setting.name: setting for setting in settings}
    for name, written in entries.items():
        if name not in own:
            raise SettingError(f"{written.where}unknown setting {name!r} of {of}.{did_you_mean(name, own)}")
    return {name: own[name].read(written.one(), written.label) for name, written in entries.items()}


def _documented(source: type[Any]) -> dict[str, str]:
    """Return {parameter: description} from the docstring of a class."""
    from docstring_parser import DocstringStyle, parse

    doc = parse(inspect.cleandoc(source.__doc__ or ""), style=DocstringStyle.NUMPYDOC)
    return {p.arg_name: " ".join((p.description or "").split()) for p in doc.params}
