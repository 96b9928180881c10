"""Trained rankers read from the folders that train_ranker wrote."""

from __future__ import annotations

import json
from pathlib import Path

from recsim_gen.core.errors import DataError
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.registry import RANKERS, did_you_mean, resolve
from recsim_gen.core.types import Catalog, Interactions


def ranker_name(folder: str | Path) -> str:
    """Return the registry name in a checkpoint's ``config.json``.

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
    """Load what ``Ranker.save`` wrote. Raises DataError for other data than the ranker was trained on."""
    ranker_class = resolve(ranker_name(folder), RANKERS, "ranker")
    loaded: Ranker = ranker_class.load(folder, catalog, interactions, device=device)
    return loaded
