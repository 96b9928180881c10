"""``recsim-gen COMMAND …``: the commands by name, as ``python -m recsim_gen.COMMAND …`` runs them."""

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

recsim-gen COMMAND --help tells its options
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; 2 where there is none of that name.

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
        sys.stderr.write(f"error: a command is wanted first, got {word!r}.{did_you_mean(name, commands)}\n")
        return 2
    sys.argv[1:] = rest
    runpy.run_module(f"recsim_gen.{name}", run_name="__main__", alter_sys=True)
    return 0


def _lines(commands: Sequence[str]) -> str:
    """Each command, and the first line of what it says of itself."""
    width = max(map(len, commands))
    said = [(import_module(f"recsim_gen.{name}").__doc__ or "").splitlines()[0] for name in commands]
    return "\n".join(f"  {name:<{width}}  {line}" for name, line in zip(commands, said, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
