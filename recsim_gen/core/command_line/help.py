"""Text of ``--help`` and of ``--ranker.help micro``."""

from __future__ import annotations

import inspect
import textwrap
from argparse import ArgumentParser, HelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recsim_gen.core.command_line.actions import program
from recsim_gen.core.command_line.fields import Entries, Field, Flag, Part
from recsim_gen.core.settings import REQUIRED, Setting, in_words
from recsim_gen.core.specs import Spec


def command_help(main: Callable[[Any], Any], fields: Sequence[Field]) -> str:
    """Return the description of a command and of each option, with defaults."""
    parser = ArgumentParser(prog=program(main), description=inspect.getdoc(main), formatter_class=_Formatter)
    text = "YAML or JSON file of these options, such as a run's config.yaml; the command line wins."
    parser.add_argument("--config", metavar="FILE", help=text)
    for field in fields:
        _add(parser, field)
    return parser.format_help()


def settings_help(part: Part, specs: Sequence[Spec]) -> str:
    """Return all settings of these parts, each with type, default and description."""
    return "\n".join(spec_help(spec, f"{part.options[1]}.NAME VALUE") for spec in specs)


def spec_help(spec: Spec, usage: str) -> str:
    """Return all settings of one part and its recipes; ``usage`` is how one is set."""
    settings = spec.known()
    lines = [f"{spec.what} {spec.name}: {usage if settings else 'nothing to set'}", ""]
    for setting in settings:
        lines.append(f"  {setting.name}{_facts(setting, in_words(setting.hint))}")
        lines += _indented(setting.help, 6)
    for recipe, values in spec.recipes().items():
        pairs = ", ".join(f"{name} {_as_written(value)}" for name, value in values.items())
        lines += ["", f"  recipe {recipe}", *_indented(pairs or "the defaults", 6)]
    return "\n".join(lines) + "\n"


def _indented(text: str, by: int) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=" " * by, subsequent_indent=" " * by)


def _add(parser: ArgumentParser, field: Field) -> None:
    """Add the options of a field to the parser."""

    def add(name: str, text: str, **how: Any) -> None:
        parser.add_argument(name, help=text.replace("%", "%%"), **how)

    name, *more = field.options
    nargs = {"nargs": "+"} if field.several else {}
    if isinstance(field, Flag):
        add(name, field.help, action="store_true")
    elif isinstance(field, Part):
        add(name, field.help + _facts(field), metavar="NAME", **nargs)
        text = f"Settings of the {field.spec.what}; {name}.help NAME lists them."
        add(f"{more[0]}.NAME", text, metavar="VALUE")
    elif isinstance(field, Entries):
        settings = field.settings or [Setting("NAME", str, help=field.help)]
        for setting in settings:
            add(f"{name}.{setting.name}", setting.help + _facts(setting, _type(setting)), metavar="VALUE")
    else:
        add(name, field.help + _facts(field, _type(field)), **nargs)


def _type(setting: Setting) -> str:
    """Return the type in words; "" for text and paths, which the option's name makes clear."""
    kind = in_words(setting.hint).removeprefix("a list, ").removesuffix(" or null")
    return "" if kind.removeprefix("each ") in (in_words(str), in_words(Path)) else kind


def _facts(setting: Setting, kind: str = "") -> str:
    """Return `` (a whole number; default: 5)``, or "" if there is nothing to add."""
    default = "" if setting.default is REQUIRED else _as_written(setting.default)
    if default == "null" and not kind.endswith(" or null"):
        default = ""
    facts = [kind, f"default: {default}" if default else ""]
    text = "; ".join(filter(None, facts))
    return f" ({text})" if text else ""


def _as_written(value: Any) -> str:
    """Return a default as the user would write it on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(_as_written, value))
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value) or '""'


class _Formatter(HelpFormatter):
    """Help formatter that keeps paragraphs apart and never breaks an option at a hyphen."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (self._split_lines(part, width - len(indent)) for part in text.split("\n\n"))
        return "\n\n".join(textwrap.indent("\n".join(lines), indent) for lines in paragraphs)
