"""Checkpoints of generators: ``config.json`` with name and settings, and the learned weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import atomic, write_json
from recsim_gen.core.weights import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
ABOUT, WEIGHTS = "config.json", "model.safetensors"


@contextmanager
def writing(folder: str | Path, name: str, about: Mapping[str, Any]) -> Iterator[Path]:
    """Context that gives a folder for the weights; with ``config.json`` it becomes ``folder``, atomically."""
    with atomic(folder) as temporary:
        temporary.mkdir()
        yield temporary
        write_json(temporary / ABOUT, {"format": FORMAT, "generator": name, **about})


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return ``config.json`` of a checkpoint of the generator ``name``; DataError if it is none."""
    about = read_about(folder)
    if about["generator"] != name:
        problem = f"a checkpoint of {name!r} is wanted, got one of {about['generator']!r}"
        raise DataError(problem, file=folder, remedy=f"Load it as {about['generator']!r}")
    return about


def read_about(folder: str | Path) -> dict[str, Any]:
    """Return ``config.json`` of any generator's checkpoint: generator, settings, data, models."""
    try:
        about = json.loads((Path(folder) / ABOUT).read_text(encoding="utf-8"))
        kinds = {"format": int, "generator": str, "settings": dict, "data": str, "models": dict}
        if wrong := [key for key, kind in kinds.items() if not isinstance(about[key], kind)]:
            raise ValueError(f"{wrong[0]} is of the wrong kind")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a trained generator is wanted, got no readable {ABOUT} ({error})",
            file=folder,
            remedy="Give the folder that a generator was saved to",
        ) from error
    if about["format"] != FORMAT:
        remedy = "Train it again"
        raise DataError(f"format {FORMAT} is wanted, got {about['format']}", file=folder, remedy=remedy)
    return about


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors on the CPU as safetensors."""
    from safetensors.torch import save_file

    save_file({name: x.contiguous() for name, x in weights.items()}, folder / WEIGHTS)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read what ``write_weights`` wrote; DataError if that fails."""
    return read_tensors(folder / WEIGHTS)
