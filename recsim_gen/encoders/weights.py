"""What encoders with weights share: finding packages, naming weights by content, batches of tensors."""

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

    ``extra`` is the extra of recsim-gen that installs it, ``wanted_by`` the encoder that needs it.
    Raises MissingDependency when it, or a package it imports, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"encoder {wanted_by!r} needs the package {error.name or name!r}, which is not installed. "
            f"Run: pip install 'recsim-gen[{extra}]'"
        ) from error


def hub_is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` asks to use local files alone."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@contextmanager
def no_bars(*libraries: Any, when: bool = True) -> Iterator[None]:
    """Inside, transformers or diffusers (the modules) show no bars, if ``when``; after, as before."""
    with ExitStack() as after:
        for library in libraries if when else ():
            log = library.utils.logging
            if log.is_progress_bar_enabled():
                log.disable_progress_bar()
                after.callback(log.enable_progress_bar)
        yield


_BESIDE_THE_POINT = {
    "diffusers.models.modeling_utils": "kept in float32: []",  # a cast in which *no* module must keep it
    "diffusers.loaders.ip_adapter": "image_encoder is not loaded",  # as it was told
}


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Inside, diffusers does not warn of what is as it should be."""
    with ExitStack() as after:
        for name, words in _BESIDE_THE_POINT.items():
            log = logging.getLogger(name)

            def other(record: logging.LogRecord, words: str = words) -> bool:
                return words not in record.getMessage()

            log.addFilter(other)
            after.callback(log.removeFilter, other)
        yield


def first_line(error: Exception) -> str:
    """What a library said, without the pages that follow."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def weights_fingerprint(model: torch.nn.Module, *settings: Any) -> str:
    """Hash of class, every tensor of the state dict, and what was set around them.

    The same weights have the same name wherever they were loaded from.
    """
    tensors = {name: t.detach().cpu().float().numpy() for name, t in model.state_dict().items()}
    return fingerprint(type(model).__qualname__, tensors, [_plain(s) for s in settings])


def _plain(x: Any) -> Any:
    """Settings of foreign libraries as text where the store has no stable form of them."""
    if isinstance(x, dict):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    return x if x is None or isinstance(x, (str, bool, int, float)) else str(x)


def to_numpy(x: torch.Tensor) -> np.ndarray:
    """(B, …) tensor of any device as (B, d) float32."""
    return np.ascontiguousarray(x.detach().flatten(1).float().cpu().numpy())
