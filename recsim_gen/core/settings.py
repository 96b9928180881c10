"""Settings of rankers, generators and loaders, read from their source code.

A setting is a field of a config dataclass or a keyword of a loader; its description is the comment on the
same line::

    k: int = 5  # "fixed to 5" (Sec. 5.1); 0 takes the whole history
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import nearest

REQUIRED: Any = inspect.Parameter.empty
"""Marks a setting without a default."""

_LINE = re.compile(r"^\s*(?P<name>\w+): [^\n]*?  # (?P<note>[^\n]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """A setting: its ``name``, type (``hint``), ``default`` and description (``help``)."""

    name: str
    hint: Any
    default: Any = REQUIRED
    help: str = ""

    def read(self, value: Any, label: str) -> Any:
        """Convert ``value``, a string or a value from a file, to the type of this setting.

        Raises SettingError if that is not possible; the message names ``label``.
        """
        from jsonargparse import ArgumentParser

        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--value", type=self.hint)
        try:
            typed = parser.parse_object({"value": value})["value"]
        except ArgumentError as error:
            raise self._refusal(value, label) from error
        if typed is None and NoneType not in get_args(self.hint):  # jsonargparse accepts None for any type
            raise self._refusal(value, label)
        return typed

    def _refusal(self, value: Any, label: str) -> SettingError:
        near = nearest(str(value), choices(self.hint))
        return SettingError(f"{label} must be {in_words(self.hint)}, got {value!r}{near and '.'}{near}")


def settings_of(target: type[Any] | Callable[..., Any], *, without: Sequence[str] = ()) -> list[Setting]:
    """Return the settings of a config dataclass (inherited ones first) or of a function.

    ``without`` names settings to leave out.
    """
    hints, notes = get_type_hints(target), _notes(target)
    if dataclasses.is_dataclass(target):
        defaults = {field.name: _default(field) for field in dataclasses.fields(target) if field.init}
    else:
        defaults = {name: p.default for name, p in inspect.signature(target).parameters.items()}
    return [
        Setting(name, hints[name], default, notes.get(name, ""))
        for name, default in defaults.items()
        if name not in without
    ]


def in_words(hint: Any) -> str:
    """Return a type in words: ``a whole number``, ``one of a, b``, ``text or null``."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    if hint in words:
        return words[hint]
    if get_origin(hint) is Literal:
        texts = list(map(str, get_args(hint)))
        return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join("null" if part is NoneType else in_words(part) for part in get_args(hint))
    if get_origin(hint) in (tuple, list):
        return f"a list, each {in_words(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "NAME: VALUE pairs"
    return getattr(hint, "__name__", str(hint))


def choices(hint: Any) -> Iterable[str]:
    """Return the values of a Literal, also within ``Literal[…] | None``."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if get_origin(hint) in (Union, UnionType):
        return [value for part in get_args(hint) for value in choices(part)]
    return []


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _notes(target: type[Any] | Callable[..., Any]) -> dict[str, str]:
    """Return the comment beside each field or parameter; those of a subclass override those of its base."""
    notes: dict[str, str] = {}
    for source in reversed(target.__mro__[:-1]) if inspect.isclass(target) else [target]:
        with contextlib.suppress(OSError, TypeError):  # defined in a console: no source available
            notes |= {m["name"]: m["note"] for m in _LINE.finditer(inspect.getsource(source))}
    return notes
