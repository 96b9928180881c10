"""The attribute reader: recognises what an image shows, and computes a user's utility of it.

It is trained independently of everything that it measures (`pretraining.verifier`), and never gives a
generator a reward or a gradient.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.store import atomic, write_json
from recsim_gen.core.weights import read_tensors
from recsim_gen.datasets.boutique.attributes import CATEGORIES, COLOURS, PATTERNS
from recsim_gen.datasets.boutique.world import Boutique

FOLDER = "verifier"

CHANNELS = (32, 64, 96, 128)

ATTRIBUTES = {"category": CATEGORIES, "main": COLOURS, "second": COLOURS, "pattern": PATTERNS}


class Reading(NamedTuple):
    """Result: ``codes`` (B, 4) int64 as in Boutique, and the ``probability`` (B, 4) of each."""

    codes: np.ndarray
    probability: np.ndarray


class ImageVerifier(nn.Module):
    """Reads category, main colour, second colour and pattern from 64×64 images: 0.3 M parameters.

    Convolutions down to 4×4, mean and maximum over positions (a mean alone would lose a small trim), and one
    linear head per attribute.
    """

    def __init__(self) -> None:
        super().__init__()
        stem, one, two, three = CHANNELS
        self.body = nn.Sequential(
            _block(3, stem, stride=2),
            _block(stem, one, stride=2),
            _block(one, one),
            _block(one, two, stride=2),
            _block(two, two),
            _block(two, three, stride=2),
        )
        heads = {name: nn.Linear(2 * three, len(values)) for name, values in ATTRIBUTES.items()}
        self.heads = nn.ModuleDict(heads)

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits (B, values) of each attribute for ``pixels`` (B, 3, 64, 64) in [0, 1]."""
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise DataError(f"pixels must be (B, 3, H, W), got {tuple(pixels.shape)}")
        seen = self.body(2 * pixels - 1)
        features = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], dim=1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def read(self, pixels: torch.Tensor, *, batch: int = 256) -> Reading:
        """Return the most likely look of each image in ``pixels`` (B, 3, 64, 64) in [0, 1].

        The two colours are decoded jointly, since no look has the same colour twice.
        """
        device = next(self.parameters()).device
        codes, probability = [], []
        for part in pixels.split(batch):
            p = {name: x.double().softmax(1) for name, x in self(part.to(device)).items()}
            both = p["main"][:, :, None] * p["second"][:, None, :]
            both.diagonal(dim1=1, dim2=2).fill_(-1)
            pair = both.flatten(1).argmax(1)
            main, second = pair // len(COLOURS), pair % len(COLOURS)
            best = torch.stack([p["category"].argmax(1), main, second, p["pattern"].argmax(1)], dim=1)
            chosen = [p[name].gather(1, best[:, [i]]) for i, name in enumerate(ATTRIBUTES)]
            codes.append(best.cpu())
            probability.append(torch.cat(chosen, dim=1).cpu())
        if not codes:
            return Reading(np.empty((0, 4), dtype=np.int64), np.empty((0, 4)))
        return Reading(torch.cat(codes).numpy(), torch.cat(probability).numpy())

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", {"class": "ImageVerifier", "attributes": ATTRIBUTES})
        with atomic(folder / "model.safetensors") as temporary:
            save_file({name: x.contiguous() for name, x in self.state_dict().items()}, temporary)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ImageVerifier:
        """Load what ``save_pretrained`` wrote, in evaluation mode.

        Raises MissingDependency if the folder has no verifier, DataError if it has one of other attributes or
        a broken one.
        """
        config, weights = Path(folder) / "config.json", Path(folder) / "model.safetensors"
        if not (config.is_file() and weights.is_file()):
            raise MissingDependency(
                f"no verifier in {folder}: wanted config.json and model.safetensors, as "
                "`python -m recsim_gen.pretrain --part verifier` writes them"
            )
        remedy = "Train it again: python -m recsim_gen.pretrain --part verifier"
        try:
            read = json.loads(config.read_text(encoding="utf-8"))["attributes"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError("must be the config of a verifier, got something else", file=config) from error
        if read != json.loads(json.dumps(ATTRIBUTES)):
            raise DataError(
                f"must be a verifier of {ATTRIBUTES}, got one of {read}", file=config, remedy=remedy
            )
        verifier = cls()
        problem = "must be the weights of a verifier, got others"
        tensors = read_tensors(weights, verifier.state_dict(), problem=problem, remedy=remedy)
        verifier.load_state_dict(tensors)
        return verifier.eval()


def oracle_utility(
    verifier: ImageVerifier, boutique: Boutique, users: np.ndarray, pixels: torch.Tensor
) -> np.ndarray:
    """Return the (B,) utilities for ``users`` (B,) rows of the looks read from images (B, 3, 64, 64)."""
    return boutique.utility(users, verifier.read(pixels).codes)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.ReLU(inplace=True),
    )
