"""A trained ranker on disk: ``config.json``, which says what it is, and ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import atomic, write_json
from recsim_gen.core.weights import read_tensors

FORMAT = 1
ABOUT, WEIGHTS = "config.json", "model.safetensors"


def write(folder: str | Path, name: str, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a checkpoint of the ranker ``name``, whole or not at all; ``weights`` on the CPU, contiguous."""
    with atomic(folder) as temporary:
        temporary.mkdir()
        save_file(dict(weights), temporary / WEIGHTS)
        write_json(temporary / ABOUT, {"format": FORMAT, "ranker": name, **about})


def read_about(folder: Path, name: str) -> dict[str, Any]:
    """``config.json`` of a checkpoint of the ranker ``name``; DataError where it is none."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Give the folder that train_ranker wrote"
        raise DataError(f"no readable ranker: {error}", file=folder, remedy=remedy) from error
    if about.get("ranker") != name or about.get("format") != FORMAT:
        got = f"{about.get('ranker')!r} (format {about.get('format')})"
        raise DataError(f"a checkpoint of {name!r} (format {FORMAT}) was wanted, got {got}", file=folder)
    return about


def other_data(folder: Path) -> DataError:
    """The error for a checkpoint of other data than is given."""
    remedy = "Give the same --data and encoders as in training"
    return DataError("the checkpoint was trained on other data or features", file=folder, remedy=remedy)


def read_weights(folder: Path, model: Mapping[str, Tensor], device: str = "cpu") -> dict[str, Tensor]:
    """Return the checkpoint's weights; DataError unless they are readable, named and shaped as ``model``."""
    return read_tensors(folder / WEIGHTS, model, device=device)
