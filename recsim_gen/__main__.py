"""``recsim-gen COMMAND …``: runs a command by name, like ``python -m recsim_gen.COMMAND …``."""

from __future__ import annotations

import pkgutil
import runpy
import sys
from collections.abc import Sequence
from importlib import import_module

import recsim_gen
from recsim_gen.core.registry import did_you_mean

USAGE = """usage: recsim-gen COMMAND [options]
       recsim-gen --version

{commands}

recsim-gen COMMAND --help lists its options
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by the first word; return 2 if there is none of that name.

    A command ends the process with its own exit code.
    """
    word, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    known = [module.name for module in pkgutil.iter_modules(recsim_gen.__path__) if not module.ispkg]
    commands = [name for name in known if not name.startswith("_")]
    name = word.replace("-", "_")
    if word in ("", "-h", "--help"):
        sys.stdout.write(USAGE.format(commands=_lines(commands)))
        return 0
    if word == "--version":
        sys.stdout.write(f"recsim-gen {recsim_gen.__version__}\n")
        return 0
    if name not in commands:
        sys.stderr.write(
            f"error: the first word must be a command, got {word!r}.{did_you_mean(name, commands)}\n"
        )
        return 2
    sys.argv[1:] = rest
    runpy.run_module(f"recsim_gen.{name}", run_name="__main__", alter_sys=True)
    return 0


def _lines(commands: Sequence[str]) -> str:
    """Return each command with the first line of its docstring."""
    width = max(map(len, commands))
    summaries = [(import_module(f"recsim_gen.{name}").__doc__ or "").splitlines()[0] for name in commands]
    return "\n".join(f"  {name:<{width}}  {line}" for name, line in zip(commands, summaries, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
