"""Folders of trained rankers, with a record of how each was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from recsim_gen.core.errors import DataError
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.registry import RANKERS, did_you_mean, resolve
from recsim_gen.core.store import write_json
from recsim_gen.core.types import Catalog, Interactions

ORIGIN = "training.json"


@dataclass(frozen=True)
class Origin:
    """How a ranker was trained: its ``seed``, and the ``encoders`` {modality: spec} of its features."""

    seed: int
    encoders: Mapping[str, str]


def keep_ranker(ranker: Ranker, folder: str | Path, origin: Origin) -> None:
    """Save a trained ranker together with its origin."""
    ranker.save(folder)
    write_json(Path(folder) / ORIGIN, asdict(origin))


def origin_of(folder: str | Path) -> Origin | None:
    """Return the origin of the ranker in ``folder``; None if `keep_ranker` did not write one.

    Raises DataError if the file cannot be read.
    """
    path = Path(folder) / ORIGIN
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return Origin(int(about["seed"]), dict(about["encoders"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Delete it to read the ranker by the command's --encoders, or train again"
        raise DataError(f"must hold seed and encoders, got {error!r}", file=path, remedy=remedy) from error


def ranker_name(folder: str | Path) -> str:
    """Return the registry name in a checkpoint's ``config.json``.

    Raises DataError if the folder is not a checkpoint, or its ranker is not in the registry: a file from an
    untrusted source must not decide what is imported.
    """
    folder = Path(folder)
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["ranker"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"must be a trained ranker, got no readable config.json ({error})",
            file=folder,
            remedy="Give a folder that train_ranker wrote, such as runs/train_ranker/micro-seed0",
        ) from error
    if name not in RANKERS:
        raise DataError(f"unknown ranker {name!r}.{did_you_mean(str(name), RANKERS)}", file=folder)
    return str(name)


def load_ranker(
    folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
) -> Ranker:
    """Load what ``Ranker.save`` wrote.

    Parameters
    ----------
    folder
        Folder of the checkpoint.
    catalog, interactions
        The data that the ranker was trained on.
    device
        Device to load the weights to.

    Returns
    -------
    Ranker
        The trained ranker.

    Raises
    ------
    DataError
        If the folder is not a checkpoint, or the ranker was trained on other data.
    """
    ranker_class = resolve(ranker_name(folder), RANKERS, "ranker")
    loaded: Ranker = ranker_class.load(folder, catalog, interactions, device=device)
    return loaded
