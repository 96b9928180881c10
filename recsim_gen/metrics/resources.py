"""Resources of metrics: encoders by name, weight files, the data's ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.store import cache_dir

if TYPE_CHECKING:
    from recsim_gen.core.types import Dataset
    from recsim_gen.models.family import ModelFamily

BOUTIQUE_CLIP = "boutique-clip"

_MIT = "MIT licence"
LICENCES = {
    "hf:openai/clip-vit-large-patch14": _MIT,
    "hf:openai/clip-vit-large-patch14-336": _MIT,
    "hf:openai/clip-vit-base-patch32": _MIT,
    "open_clip:ViT-H-14/laion2b_s32b_b79k": _MIT,
}
"""Licences of the recipes' backbones."""


@dataclass(frozen=True)
class Resources:
    """Networks and ground truth for metrics; each network is loaded once.

    Parameters
    ----------
    device
        Device of the networks.
    encoders
        {backbone: encoder or spec}, for names in brackets and to read a recipe's backbone from a folder:
        ``{"hf:openai/clip-vit-large-patch14": "hf:./my-clip"}``.
    weights
        Folder of weight files that no package provides; None: ``weights`` in the cache.
    family
        Models whose CLIP is ``boutique-clip`` and whose verifier reads images; None: embedded.
    dataset
        Data set that the images were generated for; needed by oracle utility and verifiers.
    """

    device: str = "cpu"
    encoders: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    family: ModelFamily | None = None
    dataset: Dataset | None = None

    def encoder(self, backbone: str) -> Any:
        """Return the encoder with this name.

        Raises SettingError for an unknown name, MissingDependency if its weights are missing.
        """
        from recsim_gen.encoders.features import make_encoder

        if backbone not in self._kept:
            encoder = self.encoders.get(backbone, backbone)
            if not isinstance(encoder, str):
                self._kept[backbone] = encoder
            elif encoder == BOUTIQUE_CLIP:
                self._kept[backbone] = self.models.image_encoder(device=self.device)
            else:
                try:
                    self._kept[backbone] = make_encoder(encoder, self.device)
                except MissingDependency as error:
                    licence = f" ({LICENCES[encoder]})" if encoder in LICENCES else ""
                    raise MissingDependency(f"needs {encoder}{licence}: {error}") from error
        return self._kept[backbone]

    @cached_property
    def models(self) -> ModelFamily:
        """The family of models."""
        from recsim_gen.models.family import open_family

        return self.family or open_family()

    @property
    def folder(self) -> Path:
        """Folder of the weight files."""
        return self.weights or cache_dir() / "weights"

    def file(self, name: str, origin: str) -> Path:
        """Return the weight file with this name; raises MissingDependency, with its source, if missing."""
        path = self.folder / name
        if not path.is_file():
            raise MissingDependency(f"needs {name} ({origin}); put it into {self.folder}")
        return path

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}


def read_weights(path: Path) -> dict[str, Any]:
    """Return the tensors of a checkpoint (safetensors or PyTorch) without running code in it.

    Raises DataError for a file with other content.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"a checkpoint of tensors is wanted ({reason})", file=path, remedy="Fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(x, torch.Tensor) for x in state.values()):
        raise DataError(
            f"a dict of tensors is wanted, got {type(state).__name__}", file=path, remedy="Fetch it again"
        )
    return state
