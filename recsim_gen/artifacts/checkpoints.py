"""Trained rankers found again by their folder: which class, which verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.registry import RANKERS, did_you_mean, resolve
from recsim_gen.core.types import Catalog, Interactions


def ranker_name(folder: str | Path) -> str:
    """The registry name in a checkpoint's ``config.json``.

    Raises DataError where the folder is no checkpoint, or names a ranker that the registry lacks: a
    file that was brought from elsewhere must not choose what is imported.
    """
    folder = Path(folder)
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["ranker"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a trained ranker is wanted, got no readable config.json ({error})",
            file=folder,
            remedy="Give a folder that train_ranker wrote, such as runs/train_ranker/micro-seed0",
        ) from error
    if name not in RANKERS:
        raise DataError(f"unknown ranker {name!r}.{did_you_mean(str(name), RANKERS)}", file=folder)
    return str(name)


def load_ranker(
    folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
) -> Ranker:
    """The ranker that ``Ranker.save`` wrote there. Raises DataError for other data than it was trained on."""
    ranker_class = resolve(ranker_name(folder), RANKERS, "ranker")
    loaded: Ranker = ranker_class.load(folder, catalog, interactions, device=device)
    return loaded


def judge_names(folders: Sequence[str | Path]) -> list[str]:
    """A name for each checkpoint: its folder's, with as many parents as tell them apart.

    Raises SettingError where none is given, or one twice.
    """
    parts = [Path(f).resolve().parts for f in folders]
    if not parts:
        raise SettingError("give at least one --ranker: a folder that train_ranker wrote")
    if len(set(parts)) < len(parts):
        raise SettingError("each --ranker must be given once, got one twice")
    depth = next(d for d in range(1, 1 + max(map(len, parts))) if len({p[-d:] for p in parts}) == len(parts))
    return ["/".join(p[-depth:]) for p in parts]
