"""Training of the attribute reader, which recognises what an image shows.

It is trained independently of everything that it measures, on its own renders of every look, and never gives
a generator a reward or a gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic
from recsim_gen.core.training_loop import Schedule, fit, seeded
from recsim_gen.models.attribute_reader import ATTRIBUTES, FOLDER, ImageVerifier

if TYPE_CHECKING:
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

SCHEDULE = Schedule(steps=4000, lr=2e-3, warmup=50, weight_decay=0.05)
BATCH = 64


def pretrain(
    source: PretrainingSource,
    output: Path,
    *,
    rng: Rng,
    minutes: float | None = None,
    tracker: Tracker | None = None,
    schedule: Schedule = SCHEDULE,
    renders: int | None = None,
) -> dict[str, Any]:
    """Train an ``ImageVerifier`` on renders other than the source's and write ``OUTPUT/verifier``.

    Returns the losses, and the accuracy of each attribute on new renders: unchanged (``accuracy_main`` …) and
    softened like generated images (``softened_main`` …). Raises SettingError if the catalogue's attributes
    are unknown.
    """
    if source.attributes is None:
        raise SettingError(
            "a verifier learns to read attributes, and the catalogue names none: leave out --part verifier"
        )
    own = source.other_renders("verifier", renders or int((~source.heldout).sum()), every_look=True)
    assert own.attributes is not None  # always known for renders
    targets = torch.from_numpy(own.attributes)
    with seeded(rng.for_("weights")):
        model = ImageVerifier()

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        rows = own.draw(BATCH, step.numpy())
        logits = model(softened(own.pixels(rows), step.torch()))
        parts = {name: F.cross_entropy(x, targets[rows, i]) for i, (name, x) in enumerate(logits.items())}
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}

    fitted = fit(
        FOLDER,
        model,
        loss,
        schedule,
        output=output,
        data=own.fingerprint,
        rng=rng,
        minutes=minutes,
        tracker=tracker,
    )
    with atomic(output / FOLDER) as temporary:
        model.save_pretrained(temporary)
    rows = own.rows("test")
    pixels = own.pixels(rows)
    fresh = accuracy(model, pixels, own.attributes[rows])
    soft = accuracy(model, softened(pixels, rng.for_("test").torch()), own.attributes[rows])
    return {
        **fitted,
        **{f"accuracy_{name}": value for name, value in fresh.items()},
        **{f"softened_{name}": value for name, value in soft.items()},
    }


def accuracy(verifier: ImageVerifier, pixels: torch.Tensor, codes: np.ndarray) -> dict[str, float]:
    """Return the share of images (B, 3, 64, 64) read as in ``codes`` (B, 4), by attribute."""
    right = (verifier.read(pixels).codes == codes).mean(0)
    return {name: round(float(share), 4) for name, share in zip(ATTRIBUTES, right, strict=True)}


def softened(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return ``pixels`` (B, 3, H, W) in [0, 1] as a generator might have drawn them: softer, noisy, moved.

    Half of the images are mixed with themselves at half the size, similar to an autoencoder's loss of detail,
    and get noise of up to 0.05; all are shifted by up to 5% of the side, scaled by up to 5%, and changed in
    brightness by up to 5%.
    """
    n, size = len(pixels), pixels.shape[2:]

    def drawn(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)

    soft = F.interpolate(
        F.interpolate(pixels, scale_factor=0.5, mode="area"), size=size, mode="bilinear", align_corners=False
    )
    touched = (drawn(0, 1) < 0.5).float()
    mixed = torch.lerp(pixels, soft, touched * drawn(0, 1))
    noisy = mixed + touched * drawn(0, 0.05) * torch.randn(mixed.shape, generator=generator)
    moves = torch.zeros(n, 2, 3)
    moves[:, 0, 0] = moves[:, 1, 1] = drawn(0.95, 1.05).flatten()
    moves[:, :, 2] = 0.2 * torch.rand(n, 2, generator=generator) - 0.1
    grid = F.affine_grid(moves, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(noisy, grid, padding_mode="border", align_corners=False)
    return (moved * drawn(0.95, 1.05)).clamp(0, 1)
