"""Settings of a ranker, a generator, a subject-driven method or data, and their recipes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.specs import Spec


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of settings.

    Parameters
    ----------
    name
        A ranker, a generator, a subject-driven method or data, by name or as module:Class; also the first
        word. Default: list all names.
    """

    takes_word: ClassVar[bool] = True

    name: str = ""


def main(options: Options) -> None:
    """Print every setting of a part with its type, default and description, and its recipes.

    Without a name, print all names. A name of several parts (ip_adapter) prints all of them.
    """
    from recsim_gen.core.command_line.help import spec_help
    from recsim_gen.core.specs import parts_of

    if not options.name:
        sys.stdout.write(_names())
        return
    specs = parts_of(options.name)
    sys.stdout.write("\n".join(spec_help(spec, _usage(spec)) for spec in specs))


def _usage(spec: Spec) -> str:
    """Return how commands take a setting of this part."""
    option = {"ranker": "--ranker-settings", "generator": "--gen-settings", "data": "--data-settings"}
    if spec.what in option:
        return f"{option[spec.what]}.NAME VALUE"
    return f"identity --gen {spec.name}:NAME=VALUE"


def _names() -> str:
    from recsim_gen.core.registry import DATASETS, GENERATORS, RANKERS, SUBJECT_GENERATORS

    kinds = {"rankers": RANKERS, "generators": GENERATORS, "subjects": SUBJECT_GENERATORS, "data": DATASETS}
    return "".join(f"{kind:<10}  {' '.join(table)}\n" for kind, table in kinds.items())


if __name__ == "__main__":
    raise SystemExit(run(main))
