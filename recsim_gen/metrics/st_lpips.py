"""Shift-tolerant perceptual distance (Ghildyal and Liu, ECCV 2022), with weights from PyPI.

LPIPS (see `lpips`) with blurred pooling and with its own trunk and heads; not comparable with LPIPS, hence
its own name. The package stlpips-pytorch contains all weights (BSD-2-Clause licence). They are read as
tensors into the networks below, which have the package's keys; no module of the package is imported.
"""

from __future__ import annotations

from collections import OrderedDict
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch
from torch import nn

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint
from recsim_gen.metrics.lpips import LayerDistance, PerceptualMetric
from recsim_gen.metrics.pairs import Against
from recsim_gen.metrics.recipes import OURS, X100, Spec, chosen
from recsim_gen.metrics.resources import Resources, read_weights

PACKAGE, VERSION = "stlpips-pytorch", "vST0.0"
SCALES = {OURS: 1.0, X100: 100.0}
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Blur(nn.Module):
    """Blurs by ``filt`` (C, 1, 3, 3) with mirrored borders and takes every second value."""

    filt: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.zeros(channels, 1, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H/2 + 1, W/2 + 1)."""
        around = nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return nn.functional.conv2d(around, self.filt, stride=2, groups=len(self.filt))


def alex() -> nn.ModuleDict:
    """Return AlexNet's layers with stride 1 in the first, blurred after it and after each pooling."""
    return _slices(
        [nn.Conv2d(3, 64, 11, padding=2), Blur(64), nn.ReLU()],
        [nn.MaxPool2d(3, stride=1), Blur(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()],
        [nn.MaxPool2d(3, stride=1), Blur(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()],
    )


def vgg() -> nn.ModuleDict:
    """Return VGG16's layers, blurred after each pooling."""
    slices: list[list[nn.Module]] = []
    inputs = 3
    for widths in VGG16:
        layers: list[nn.Module] = [nn.MaxPool2d(2, stride=1), Blur(inputs)] if slices else []
        for outputs in widths:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        slices.append(layers)
    return _slices(*slices)


def _slices(*slices: list[nn.Module]) -> nn.ModuleDict:
    """Return ``slice1`` …, with layers numbered consecutively."""
    number = count()
    parts = {
        f"slice{k}": nn.Sequential(OrderedDict((str(next(number)), layer) for layer in layers))
        for k, layers in enumerate(slices, 1)
    }
    return nn.ModuleDict(parts)


NETWORKS = {"alex": alex, "vgg": vgg}


class ShiftTolerant(LayerDistance):
    """Distance of image pairs by ``net``, alex or vgg.

    Raises SettingError for another network, MissingDependency if the package is not installed, DataError if
    its file has other weights.
    """

    def __init__(self, net: str, device: str) -> None:
        if net not in NETWORKS:
            raise SettingError(f"unknown backbone {net!r} of st_lpips.{did_you_mean(net, NETWORKS)}")
        path = _shipped(f"{net}_shift_tolerant.pth")
        state = read_weights(path)
        self.fingerprint = fingerprint({name: x.numpy() for name, x in state.items()})
        self._trunk = NETWORKS[net]()
        try:
            shift, scale = (state.pop(f"scaling_layer.{name}") for name in ("shift", "scale"))
            heads = [state.pop(f"lin{k}.model.1.weight") for k in range(len(self._trunk))]
            self._trunk.load_state_dict({name.removeprefix("net."): x for name, x in state.items()})
        except (KeyError, RuntimeError) as error:
            raise DataError(
                f"the weights of {net} are wanted, got others ({error})",
                file=path,
                remedy=f"Run pip install --force-reinstall {PACKAGE}==0.0.2",
            ) from error
        self._trunk.eval().requires_grad_(False).to(device)
        self._shift, self._scale = shift.to(device), scale.to(device)
        self.weights = [head.flatten().to(device) for head in heads]

    def layers(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features (U, C, H, W) after each slice."""
        x = (pixels.to(self._shift.device) - self._shift) / self._scale
        return [x := part(x) for part in self._trunk.values()]


def _shipped(file: str) -> Path:
    """Return the path of a file in the package. Raises MissingDependency if it is not installed."""
    spec = find_spec("stlpips_pytorch")
    if spec is None or spec.origin is None:
        raise MissingDependency(
            f"needs {file}, which the package {PACKAGE} carries (BSD-2-Clause licence): run pip install "
            "'recsim-gen[metrics]'"
        )
    return Path(spec.origin).parent / "weights" / VERSION / file


class STLPIPS(PerceptualMetric):
    """Shift-tolerant LPIPS to the reference's own image; ``st_lpips[vgg]`` uses the larger network."""

    unit = "ST-LPIPS"

    def __init__(self, spec: Spec, resources: Resources) -> None:
        scale, net = chosen(SCALES, spec), spec.backbone or "alex"
        distance = ShiftTolerant(net, resources.device)
        super().__init__(spec, distance, backbone=f"{net}, {PACKAGE} {VERSION}", scale=scale)


class STLPIPSHistory(STLPIPS):
    """Mean ST-LPIPS to the images of the history."""

    against: Against = "history"
