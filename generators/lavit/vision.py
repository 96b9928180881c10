"""Features of a picture's patches: what the tokenizer reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True)
class Vision:
    """A vision transformer and how pictures are made ready for it.

    ``model``: of transformers; its ``hidden_states[-1]`` are (B, 1 + N, width), the class token first, and
    have not been through the last norm. ``processor``: an image processor.
    """

    model: Any
    processor: Any

    @property
    def patches(self) -> int:
        """N, of a picture."""
        config = self.model.config
        return int(config.image_size // config.patch_size) ** 2

    def features(self, pictures: list[Image.Image]) -> torch.Tensor:
        """(B, N, width) float32 of the last layer's patches."""
        import torch

        pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            pixels = pixels.to(self.model.device, self.model.dtype)
            states = self.model(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
        features: torch.Tensor = states[:, 1:].float()
        return features


def family_vision(family: ModelFamily, device: str | None) -> Vision:
    """The vision transformer of the family's CLIP. Raises what loading a CLIP model does."""
    import torch
    from transformers import CLIPImageProcessor, CLIPModel

    from recsim_gen.core.processes import this_process

    checkpoint = family.checkpoint("image_encoder")
    model = checkpoint.load_model(CLIPModel, torch.float32).vision_model
    model = model.to(device or this_process().device)
    load = CLIPImageProcessor.from_pretrained
    processor = checkpoint.load(lambda folder: load(folder, local_files_only=True))
    return Vision(model.requires_grad_(False), processor)
