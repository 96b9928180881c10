"""Helpers of encoders with weights: finding packages, fingerprints, batches of tensors."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import MissingDependency
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    import torch


def package(name: str, *, extra: str, wanted_by: str) -> Any:
    """Import and return an optional package.

    ``extra`` is the extra of recsim-gen that installs it, ``wanted_by`` the encoder that needs it. Raises
    MissingDependency if it, or a package it imports, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"encoder {wanted_by!r} needs the package {error.name or name!r}, which is not installed. "
            f"Run: pip install 'recsim-gen[{extra}]'"
        ) from error


def hub_is_offline() -> bool:
    """Return whether ``HF_HUB_OFFLINE`` requests local files only."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@contextmanager
def no_bars(*libraries: Any, when: bool = True) -> Iterator[None]:
    """Context in which transformers or diffusers (the modules) show no progress bars, if ``when``."""
    with ExitStack() as after:
        for library in libraries if when else ():
            log = library.utils.logging
            if log.is_progress_bar_enabled():
                log.disable_progress_bar()
                after.callback(log.enable_progress_bar)
        yield


_BESIDE_THE_POINT = {
    "diffusers.models.modeling_utils": "kept in float32: []",  # a cast that keeps *no* module in float32
    "diffusers.loaders.ip_adapter": "image_encoder is not loaded",  # as requested
}


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Context in which diffusers does not warn about intended behaviour."""
    with ExitStack() as after:
        for name, words in _BESIDE_THE_POINT.items():
            log = logging.getLogger(name)

            def other(record: logging.LogRecord, words: str = words) -> bool:
                return words not in record.getMessage()

            log.addFilter(other)
            after.callback(log.removeFilter, other)
        yield


def first_line(error: Exception) -> str:
    """Return the first line of a library's error message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def weights_fingerprint(model: torch.nn.Module, *settings: Any) -> str:
    """Return a hash of the class, all tensors of the state dict, and further settings.

    Equal weights have equal fingerprints, wherever they were loaded from.
    """
    tensors = {name: t.detach().cpu().float().numpy() for name, t in model.state_dict().items()}
    return fingerprint(type(model).__qualname__, tensors, [_plain(s) for s in settings])


def _plain(x: Any) -> Any:
    """Return settings of other libraries as text if they cannot be hashed."""
    if isinstance(x, dict):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    return x if x is None or isinstance(x, (str, bool, int, float)) else str(x)


def to_numpy(x: torch.Tensor) -> np.ndarray:
    """Return a (B, …) tensor on any device as (B, d) float32."""
    return np.ascontiguousarray(x.detach().flatten(1).float().cpu().numpy())
