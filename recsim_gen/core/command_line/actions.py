"""Commands with several actions: ``python -m recsim_gen.data check NAME:PATH --quiet``.

Each action is a function like the ``main`` of other commands, registered by name::

    if __name__ == "__main__":
        raise SystemExit(run({"check": check, "show": show}))

The first word is the action. If the next word is not an option, it is the value of the first option that the
action's own dataclass documents: ``check NAME:PATH`` means ``check --data NAME:PATH``.
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
    """Return what the user types to start it, without options."""
    spec = getattr(sys.modules.get(main.__module__), "__spec__", None)
    module = main.__module__ if spec is None else spec.name
    return f"python -m {module}" + ("" if main.__name__ == "main" else f" {main.__name__}")


def chosen(actions: Mapping[str, Main], argv: Sequence[str]) -> tuple[Main, list[str]]:
    """Return the action named by the first word, and the remaining arguments.

    ``--help`` prints the actions and raises SystemExit. Raises SettingError for any other first word.
    """
    word, rest = (argv[0], list(argv[1:])) if argv else ("", [])
    if word in ("-h", "--help"):
        sys.stdout.write(_help(actions))
        raise SystemExit(0)
    if word not in actions:
        got = repr(word) if word else "none"
        raise SettingError(f"the first word must be an action, got {got}.{did_you_mean(word, actions)}")
    return actions[word], with_option(rest, fields_of(options_class(actions[word]))[0])


def with_option(argv: Sequence[str], field: Field) -> list[str]:
    """Return the arguments; a first word that is not an option becomes the value of ``field``."""
    if not argv or argv[0].startswith("-"):
        return list(argv)
    return [f"{field.options[0]}={argv[0]}", *argv[1:]]


def _help(actions: Mapping[str, Main]) -> str:
    """Return the help text: usage and one line per action."""
    command = program(next(iter(actions.values()))).rpartition(" ")[0]
    width = max(map(len, actions))
    lines = [f"{name:<{width}}  {(inspect.getdoc(do) or '').splitlines()[0]}" for name, do in actions.items()]
    return "\n".join(
        [
            f"usage: {command} ACTION [options]",
            "",
            *lines,
            "",
            f"{command} ACTION --help lists its options",
            "",
        ]
    )
