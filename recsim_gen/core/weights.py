"""Reads weights from disk as named tensors, without running any code in the file."""

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

    Parameters
    ----------
    file
        A safetensors file.
    model
        State dict whose names and shapes the tensors must have.
    device
        Device to load to.
    problem, remedy
        Text of the error if the file cannot be read.

    Raises
    ------
    DataError
        If the file cannot be read, or its tensors do not match ``model``.
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
    """Return the tensors of a pickled torch state dict, on the CPU, without running code in it.

    Raises DataError (``remedy``) if the file is broken or holds something else.
    """
    import pickle
    from zipfile import is_zipfile

    import torch

    try:
        mapped = is_zipfile(file)  # files from before torch 1.6 are not zip archives
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise DataError(
            f"must be a state dict, got a broken file ({error})", file=file, remedy=remedy
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(x, torch.Tensor) for x in state.values()):
        raise DataError(f"must be a state dict, got {type(state).__name__}", file=file, remedy=remedy)
    return dict(state)
