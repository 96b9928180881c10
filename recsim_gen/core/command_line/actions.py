"""Commands of several actions: ``python -m recsim_gen.data check NAME:PATH --quiet``.

Each action is a function like the ``main`` of other commands, by its name::

    if __name__ == "__main__":
        raise SystemExit(run({"check": check, "show": show}))

The first word is the action. A word after it that is no option is the value of its first option, so
that ``check NAME:PATH`` is ``check --data NAME:PATH``: the first that its own dataclass of options describes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsim_gen.core.command_line.fields import Field, fields_of, options_class
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import did_you_mean

Main = Callable[..., Any]


def program(main: Main) -> str:
    """What the reader types to call it, without options."""
    spec = getattr(sys.modules.get(main.__module__), "__spec__", None)
    module = main.__module__ if spec is None else spec.name
    return f"python -m {module}" + ("" if main.__name__ == "main" else f" {main.__name__}")


def chosen(actions: Mapping[str, Main], argv: Sequence[str]) -> tuple[Main, list[str]]:
    """The action that the first word names, and its own arguments.

    ``--help`` prints the actions and raises SystemExit. Raises SettingError for any other first word.
    """
    word, rest = (argv[0], list(argv[1:])) if argv else ("", [])
    if word in ("-h", "--help"):
        sys.stdout.write(_help(actions))
        raise SystemExit(0)
    if word not in actions:
        got = repr(word) if word else "none"
        raise SettingError(f"an action is wanted first, got {got}.{did_you_mean(word, actions)}")
    return actions[word], with_option(rest, fields_of(options_class(actions[word]))[0])


def with_option(argv: Sequence[str], field: Field) -> list[str]:
    """Return the arguments with a first word that is no option as the value of ``field``."""
    if not argv or argv[0].startswith("-"):
        return list(argv)
    return [f"{field.options[0]}={argv[0]}", *argv[1:]]


def _help(actions: Mapping[str, Main]) -> str:
    command = program(next(iter(actions.values()))).rpartition(" ")[0]
    width = max(map(len, actions))
    lines = [f"{name:<{width}}  {(inspect.getdoc(do) or '').splitlines()[0]}" for name, do in actions.items()]
    return "\n".join(
        [
            f"usage: {command} ACTION [options]",
            "",
            *lines,
            "",
            f"{command} ACTION --help tells its options",
            "",
        ]
    )
