"""Checkpoints of rankers: ``config.json`` with settings and metadata, and ``model.safetensors``.

Neighbour lists made by an index are in ``neighbours.safetensors``.
"""

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
ABOUT, WEIGHTS, LISTS = "config.json", "model.safetensors", "neighbours.safetensors"


def write(
    folder: str | Path,
    name: str,
    about: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    lists: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint of the ranker ``name`` atomically; tensors must be contiguous and on the CPU."""
    with atomic(folder) as temporary:
        temporary.mkdir()
        save_file(dict(weights), temporary / WEIGHTS)
        if lists:
            save_file(dict(lists), temporary / LISTS)
        write_json(temporary / ABOUT, {"format": FORMAT, "ranker": name, **about})


def read_about(folder: Path, name: str) -> dict[str, Any]:
    """Return ``config.json`` of a checkpoint; raise DataError unless it is one of the ranker ``name``."""
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
    """Return the error for a checkpoint that was trained on other data."""
    remedy = "Give the same --data and encoders as in training"
    return DataError("the checkpoint was trained on other data or features", file=folder, remedy=remedy)


def read_weights(folder: Path, model: Mapping[str, Tensor], device: str = "cpu") -> dict[str, Tensor]:
    """Return the checkpoint's weights; raise DataError unless names and shapes are those of ``model``."""
    return read_tensors(folder / WEIGHTS, model, device=device)


def read_lists(folder: Path, n: int) -> dict[str, Tensor]:
    """Return the checkpoint's lists of items, {} if it has none.

    Raises DataError unless they are readable and hold rows of a catalogue of ``n`` items.
    """
    if not (folder / LISTS).exists():
        return {}
    lists = read_tensors(folder / LISTS, problem="no readable lists of neighbours")
    for name, index in lists.items():
        if index.ndim != 2 or len(index) != n or index.min() < 0 or index.max() >= n:
            got = f"{tuple(index.shape)} of rows {int(index.min())} to {int(index.max())}"
            wanted = f"neighbours {name!r} must be ({n}, k) of rows in [0, {n}), got {got}"
            raise DataError(wanted, file=folder / LISTS, remedy="Train again")
    return lists
