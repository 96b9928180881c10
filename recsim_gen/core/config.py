"""Options of a command, read from the signature and docstring of its ``main``.

A command file looks like this, and nothing in it is heavy at import::

    def main(
        data: str = "boutique",
        seeds: tuple[int, ...] = (0, 1, 2),
        settings: dict[str, Any] | None = None,
        output: Path = Path("runs/train_ranker"),
        tracking_uri: str | None = None,
        quiet: bool = False,
    ) -> None:
        '''Train a ranker and report how well it ranks.

        Parameters
        ----------
        data
            What to run on: NAME or NAME:PATH.
        settings
            Settings of the ranker, each with a default of its own: --settings.epochs 50.
        ...
        '''
        config = dict(locals())  # first line: what goes into results.json
        import torch

    if __name__ == "__main__":
        raise SystemExit(run(main))

What the signature means on the command line and in the file of ``--config FILE`` (YAML or JSON):

================================  ==============================  ======================
parameter                         command line                    file
================================  ==============================  ======================
``tracking_uri: str | None``      ``--tracking-uri URI``          ``tracking_uri: URI``
``seeds: tuple[int, ...]``        ``--seeds 0 1 2``               ``seeds: [0, 1, 2]``
``quiet: bool = False``           ``--quiet``                     ``quiet: true``
``verify: bool = True``           ``--no-verify``                 ``verify: false``
``settings: dict[str, Any]``      ``--settings.epochs 50``        ``settings: {epochs: 50}``
``micro: MicroConfig`` dataclass  ``--micro.k 20``                ``micro: {k: 20}``
``from_: str``                    ``--from NAME``                 ``from: NAME``
================================  ==============================  ======================

Precedence: command line > file (a later file over an earlier one) > defaults. This holds for each
entry of ``settings`` too, whose values are read as YAML (50 is a number, [1, 2] a list); deeper
nesting goes into the file. The options know nothing of the keys that ``settings`` may hold, so pass
it to ``registry.with_settings(MicroConfig, settings or {})``, which refuses an unknown one. Do that
first in ``main``, before any data is read. A command of several actions: see ``actions``.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import textwrap
import warnings
from argparse import SUPPRESS, ArgumentError, HelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from recsim_gen.core.actions import chosen, option, plain_name, program
from recsim_gen.core.errors import RecsimError, SettingError
from recsim_gen.core.processes import works_alone
from recsim_gen.core.progress import quietly
from recsim_gen.core.registry import did_you_mean

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (--[\w.-]+)")
_UNKNOWN_KEY = re.compile(r"(?:Group '([^']+)' does not accept o|O)ption '([^']+)'")
_NO_CHOICE = re.compile(r'key "([^"]+)"[^\n]*\s+Expected a (?:typing\.)?Literal\[(.+)\]\. Got value: (.+)')


def run(
    main: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    argv: Sequence[str] | None = None,
    *,
    shared: bool = False,
) -> int:
    """Run a command with these arguments (default: those of the process); give its exit code.

    ``main`` is one function, or several by name (see ``actions``). 0: done, unless it returns a code
    of its own. 2: an error that the reader can act on, told on standard error without a traceback.
    130: interrupted. Any other exception is a defect of ours and keeps its traceback.

    ``shared``: several processes (``accelerate launch``, ``torchrun``) share its work. Otherwise the first
    of them does it alone, and the others are done at once.
    """
    if not shared and not works_alone():
        return 0
    # Threads that spin while they wait make a busy machine several times slower; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        argv = sys.argv[1:] if argv is None else argv
        if isinstance(main, Mapping):
            main, argv = chosen(main, argv)
        values = parse(main, argv)
        with quietly(bool(values.get("quiet", False))), warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning):  # of libraries, to their developers
                warnings.simplefilter("ignore", kind)
            code = main(**values)
    except RecsimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; start the same command again to go on\n")
        return 130
    return code if isinstance(code, int) else 0


def parse(main: Callable[..., Any], argv: Sequence[str]) -> dict[str, Any]:
    """Values of ``main``'s parameters. Raises SettingError for what it cannot take.

    ``--help`` prints and raises SystemExit.
    """
    parser = make_parser(main)
    argv, files = _files_first(_joined(argv, main))
    try:
        given = parser.parse_args([*argv])
    except ArgumentError as error:
        raise SettingError(_explain(str(error), parser, files)) from error
    values = parser.instantiate(given).as_dict()
    types = get_type_hints(main)
    found = {name: values[plain_name(name)] for name in inspect.signature(main).parameters}
    return {name: tuple(v) if get_origin(types[name]) is tuple else v for name, v in found.items()}


def make_parser(main: Callable[..., Any]) -> ArgumentParser:
    """A parser with one option for each parameter of ``main``, and ``--config``.

    Raises TypeError when a parameter has no type, no default or no line in the docstring.
    """
    from docstring_parser import DocstringStyle
    from docstring_parser import parse as parse_docstring
    from jsonargparse import ArgumentParser

    doc = parse_docstring(inspect.getdoc(main) or "", style=DocstringStyle.NUMPYDOC)
    help_of = {p.arg_name: " ".join((p.description or "").split()) for p in doc.params}
    types = get_type_hints(main)
    parser = ArgumentParser(
        prog=program(main),
        description="\n\n".join(filter(None, [doc.short_description, doc.long_description])),
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=_help_formatter(),
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help="YAML or JSON file of these options; the command line wins.",
    )
    for name, parameter in inspect.signature(main).parameters.items():
        if name not in types or parameter.default is parameter.empty or not help_of.get(name):
            raise TypeError(f"{main.__module__}.main: {name} needs a type, a default and a description")
        parser.add_argument(option(name), help=help_of[name], **_how(types[name], parameter.default))
    return parser


def _help_formatter() -> type[HelpFormatter]:
    """jsonargparse's, but paragraphs stay apart and no option is broken at its hyphen."""
    from jsonargparse import DefaultHelpFormatter

    class Formatter(DefaultHelpFormatter):
        def _split_lines(self, text: str, width: int) -> list[str]:
            return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            paragraphs = (self._split_lines(part, width - len(indent)) for part in text.split("\n\n"))
            return "\n\n".join(textwrap.indent("\n".join(lines), indent) for lines in paragraphs)

    return Formatter


def _how(hint: Any, default: Any) -> dict[str, Any]:
    """Arguments of ``add_argument`` for a type: flags for bool, several values for sequences."""
    from jsonargparse import ActionYesNo

    if hint is bool:
        return {"default": default, "action": ActionYesNo(no_prefix="no-") if default else "store_true"}
    if get_origin(hint) in (list, tuple):
        return {"default": list(default), "type": get_args(hint)[0], "nargs": "+"}
    return {"default": default, "type": hint}


def _joined(argv: Sequence[str], main: Callable[..., Any]) -> list[str]:
    """``--seeds 0 --seeds 1`` as ``--seeds 0 1``: argparse would keep the last alone, without a word."""
    several = {option(n) for n, t in get_type_hints(main).items() if get_origin(t) is tuple}
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    bucket = rest
    for word in argv:
        name, equals, value = word.partition("=")
        if name in several:
            bucket = values.setdefault(name, [])
            bucket += [value] if equals else []
        else:
            bucket = rest if word.startswith("--") else bucket
            bucket.append(word)
    return rest + [word for name, given in values.items() for word in (name, *given)]


def _files_first(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """``argv`` with every ``--config FILE`` moved to the front, and those files.

    jsonargparse lets the last one win, wherever it stands; the command line is to win always.
    """
    files, rest = [], []
    words = iter(argv)
    for word in words:
        if word == "--config":
            files.append(next(words, ""))
        elif word.startswith("--config="):
            files.append(word.partition("=")[2])
        else:
            rest.append(word)
    if "" in files:
        raise SettingError("--config needs the name of a YAML or JSON file, got none")
    return [f"--config={file}" for file in files] + rest, files


def _explain(message: str, parser: ArgumentParser, files: Iterable[str]) -> str:
    """jsonargparse's message in our words: what is unknown, where, and what comes near."""
    shown = [a for a in parser._actions if a.help != SUPPRESS]
    options = [o for action in shown for o in action.option_strings if o.startswith("--")]
    if found := _UNKNOWN_OPTION.search(message):
        return f"unknown option {found[1]}.{did_you_mean(found[1], options)}"
    if found := _UNKNOWN_KEY.search(message):
        group, key = found.groups()
        prefix = "--" if group is None else f"--{group.replace('_', '-')}."
        known = [o.removeprefix(prefix).replace("-", "_") for o in options if o.startswith(prefix)]
        where = f"{', '.join(files)}: " if files else ""
        of = "" if group is None else f" of {group}"
        return f"{where}unknown key {key!r}{of}.{did_you_mean(key, known)}"
    if found := _NO_CHOICE.search(message):
        key, choices, value = found.groups()
        known = [choice.strip(" '") for choice in choices.split(",")]
        return f"unknown value {value!r} of --{key.replace('_', '-')}.{did_you_mean(value, known)}"
    if "parsing config" in message:
        return f"{', '.join(files)}: {message}"
    return re.sub(r'Parser key "([^"]+)"', lambda m: "--" + m[1].replace("_", "-"), message)
