"""Weights on disk: tensors by name, and nothing that could be run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(
    file: Path,
    model: Mapping[str, Tensor] | None = None,
    *,
    device: str = "cpu",
    problem: str = "no readable weights",
    remedy: str = "Train again",
) -> dict[str, Tensor]:
    """Return the tensors in ``file``.

    Raises DataError (``problem``, ``remedy``) where it cannot be read, and, where ``model`` is given
    (a state dict), unless they are named and shaped as its.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(file, device=device)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{problem}: {error}", file=file, remedy=remedy) from error
    if model is None:
        return weights
    got, expected = ({name: tuple(x.shape) for name, x in each.items()} for each in (weights, model))
    if got != expected:
        name = next(iter(dict(expected.items() ^ got.items())))
        shapes = f"weights {name!r} must be {expected.get(name)}, got {got.get(name)}"
        raise DataError(shapes, file=file, remedy=remedy)
    return weights


def read_state_dict(file: Path, remedy: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict as torch pickles it, on the CPU; no code in it is run.

    Raises DataError (``remedy``) for a file that is broken or holds something else.
    """
    import pickle
    from zipfile import is_zipfile

    import torch

    try:
        mapped = is_zipfile(file)  # files of before torch 1.6 are none
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise DataError(
            f"want a state dict, got a broken file ({error})", file=file, remedy=remedy
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(x, torch.Tensor) for x in state.values()):
        raise DataError(f"want a state dict, got {type(state).__name__}", file=file, remedy=remedy)
    return dict(state)
