"""Settings of a ranker, a generator or data, and their recipes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar

from recsim_gen.core.config import run


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of settings.

    Parameters
    ----------
    name
        A ranker, a generator or data, by name or as module:Class; also the first word. Default: list all
        names.
    """

    takes_word: ClassVar[bool] = True

    name: str = ""


def main(options: Options) -> None:
    """Print every setting of a ranker, a generator or data with its type, default and line, and its recipes.

    Without a name, print all names.
    """
    from recsim_gen.core.command_line.help import spec_help
    from recsim_gen.core.specs import part_of

    if not options.name:
        sys.stdout.write(_names())
        return
    spec = part_of(options.name)
    option = {"ranker": "--ranker-settings", "generator": "--gen-settings", "data": "--data-settings"}
    sys.stdout.write(spec_help(spec, option[spec.what]))


def _names() -> str:
    from recsim_gen.core.registry import DATASETS, GENERATORS, RANKERS

    kinds = {"rankers": RANKERS, "generators": GENERATORS, "data": DATASETS}
    return "".join(f"{kind:<10}  {' '.join(table)}\n" for kind, table in kinds.items())


if __name__ == "__main__":
    raise SystemExit(run(main))
