"""Features of an image's patches, the input of the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True)
class Vision:
    """A vision transformer with its preprocessing.

    ``model``: of transformers; its ``hidden_states[-1]`` are (B, 1 + N, width), class token first, before the
    last norm. ``processor``: an image processor. ``mean`` and ``sd`` (width,): standardisation of the
    features, if the tokenizer is trained here.
    """

    model: Any
    processor: Any
    mean: torch.Tensor | None = None
    sd: torch.Tensor | None = None

    @property
    def patches(self) -> int:
        """Number N of patches of an image."""
        config = self.model.config
        return int(config.image_size // config.patch_size) ** 2

    def features(self, pictures: list[Image.Image]) -> torch.Tensor:
        """Return (B, N, width) float32 features of the last layer's patches."""
        import torch

        pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            pixels = pixels.to(self.model.device, self.model.dtype)
            states = self.model(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
        features: torch.Tensor = states[:, 1:].float()
        if self.mean is None or self.sd is None:
            return features
        return (features - self.mean) / self.sd


def standardise(vision: Vision, pictures: Sequence[Image.Image]) -> None:
    """Set ``mean`` and ``sd``, which must exist, to those of the patches of ``pictures``.

    CLIP's patches have large common components, which would slow down learning of their differences.
    """
    import torch

    plain = replace(vision, mean=None, sd=None)
    parts = [plain.features([*pictures[k : k + 50]]).flatten(0, 1) for k in range(0, len(pictures), 50)]
    sd, mean = torch.std_mean(torch.cat(parts), dim=0)
    assert vision.mean is not None
    assert vision.sd is not None
    vision.mean.copy_(mean)
    vision.sd.copy_(sd.clamp_min(1e-6))


def family_vision(family: ModelFamily, device: str | None) -> Vision:
    """Return the vision transformer of the family's CLIP, without standardisation.

    Raises what loading a CLIP model raises.
    """
    import torch
    from transformers import CLIPImageProcessor, CLIPModel

    from recsim_gen.core.processes import this_process

    checkpoint = family.checkpoint("image_encoder")
    model = checkpoint.load_model(CLIPModel, torch.float32).vision_model
    model = model.to(device or this_process().device)
    load = CLIPImageProcessor.from_pretrained
    processor = checkpoint.load(lambda folder: load(folder, local_files_only=True))
    mean = torch.zeros(model.config.hidden_size, device=model.device)
    return Vision(model.requires_grad_(False), processor, mean, torch.ones_like(mean))
