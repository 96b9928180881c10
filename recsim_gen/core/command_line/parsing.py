"""Parses a command line and option files into an options dataclass; see `core.config`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from recsim_gen.core.command_line.actions import with_option
from recsim_gen.core.command_line.fields import Field, Flag, Part, fields_of, options_class
from recsim_gen.core.command_line.help import command_help, settings_help
from recsim_gen.core.command_line.names import option
from recsim_gen.core.command_line.written import Given, Written, occurrences, read_file
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.specs import Spec

Main = Callable[[Any], Any]
CONFIG = "--config"


def parse(main: Main, argv: Sequence[str]) -> Any:
    """Return the options of ``main``. Raises SettingError for invalid arguments.

    ``--help`` and ``--PART.help NAME`` print and raise SystemExit. If the options class has ``takes_word``, a
    first word that is not an option is the value of its first field.
    """
    options = options_class(main)
    fields = fields_of(options)
    if getattr(options, "takes_word", False):
        argv = with_option(argv, fields[0])
    if "-h" in argv or "--help" in argv:
        sys.stdout.write(command_help(main, fields))
        raise SystemExit(0)
    reader = _Reader(fields)
    reader.read(argv)
    if reader.helps:
        sys.stdout.write(
            "\n".join(settings_help(part, reader.specs(part, words)) for part, words in reader.helps)
        )
        raise SystemExit(0)
    return options(**{field.name: field.value(reader.given) for field in fields})


class _Reader:
    """Collects the values of ``fields`` by their names in files."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.given = Given()
        self.helps: list[tuple[Part, list[str]]] = []
        self.shown = [CONFIG, *(name for field in fields for name in field.options)]
        self.values = {field.key: field for field in fields if field.entries_key != field.key}
        self.entries = {field.entries_key: field.entries_key for field in fields if field.entries_key}
        settings = [f.entries_key for f in fields if isinstance(f, Part)]
        beside_data = [name for name in settings if name != "data_settings"]
        own = [name for name in beside_data if name != "judges_settings"] or beside_data
        if len(own) == 1:
            self.entries["settings"] = own[0]
        self.keys = {option(key): key for key in [*self.values, *self.entries]}
        self.negatives = {field.negative: field.key for field in fields if isinstance(field, Flag)}

    def read(self, argv: Sequence[str]) -> None:
        """Read all option files, then the command line, which overrides them regardless of the order."""
        line = occurrences(argv)
        for file in [file for name, words in line if name == CONFIG for file in words or [""]]:
            if not file:
                raise SettingError(f"{CONFIG} needs the name of a YAML or JSON file, got none")
            self.take_file(file)
        for name, words in line:
            if name != CONFIG:
                self.take_option(name, words)

    def specs(self, part: Part, names: Sequence[str]) -> list[Spec]:
        """Return the parts of these names, or else those given. Raises SettingError if there are none."""
        specs = [part.spec(name) for name in names] or part.named(self.given)
        if not specs:
            raise SettingError(f"{part.options[0]}.help needs the name of a {part.spec.what}, got none")
        return specs

    def take_file(self, file: str) -> None:
        """Read an option file. Raises SettingError for a name that is not an option."""
        for name, content in read_file(file).items():
            written = Written(name, content, file=file)
            if name in self.entries:
                self.given.add_entries(self.entries[name], written)
            elif name in self.values:
                self.given.values[name] = written
            else:
                near = did_you_mean(name, [*self.values, *self.entries])
                raise SettingError(f"{written.where}unknown key {name!r}.{near}")

    def take_option(self, name: str, words: list[str]) -> None:
        """Read one option of the command line. Raises SettingError for an unknown option.

        Values of an option that takes several accumulate; for any other option the last value counts.
        """
        first, _, inner = name.partition(".")
        key = self.keys.get(first, "")
        field = self.values.get(key)
        if key in self.entries and inner:
            self.given.entries.setdefault(self.entries[key], {})[inner] = Written(name, words=words)
        elif key in self.entries:
            self.given.add_entries(self.entries[key], Written(name, words=words))
        elif isinstance(field, Part) and inner == "help":
            self.helps.append((field, words))
        elif field and not inner:
            before = self.given.values.get(key)
            if before and before.words and words and field.several:
                words = [*before.words, *words]
            self.given.values[key] = Written(name, words=words)
        elif name in self.negatives:
            if words:
                raise SettingError(f"{name} takes no value, got {' '.join(words)}")
            self.given.values[self.negatives[name]] = Written(name, False)
        else:
            raise SettingError(f"unknown option {name}.{did_you_mean(name, self.shown)}")
