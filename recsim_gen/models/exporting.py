"""Writes models of a family into a folder that the loaders of diffusers and transformers read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.protocols import ExportedPart
from recsim_gen.models.checkpoint import SUFFIXES, is_folder

if TYPE_CHECKING:
    from torch import Tensor

    from recsim_gen.models.family import ModelFamily


def write_pipeline(family: ModelFamily, folder: Path, *, feature_extractor: Any = None) -> ExportedPart:
    """Write the family's diffusion model, unchanged, as a pipeline in ``folder``."""
    from diffusers import StableDiffusionPipeline

    own: Any = family.diffusion(device="cpu")  # Any: its type stubs lack attributes
    parts = own.components | {"feature_extractor": feature_extractor}
    pipeline: Any = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.save_pretrained(folder)
    return ExportedPart(
        "model_index.json",
        "the diffusion model, as it was before training",
        "from diffusers import StableDiffusionPipeline\n\n"
        'pipeline = StableDiffusionPipeline.from_pretrained(".")',
    )


def write_image_encoder(family: ModelFamily, folder: Path) -> Any:
    """Write the vision half of the family's CLIP into ``folder``; return its image processor.

    Returns None if the image encoder is not a CLIP, the only type that diffusers pipelines support.
    """
    from transformers import AutoConfig, AutoImageProcessor, CLIPModel, CLIPVisionModelWithProjection

    files = family.folder("image_encoder")
    if AutoConfig.from_pretrained(files, local_files_only=True).model_type != "clip":
        return None
    clip = CLIPModel.from_pretrained(files, local_files_only=True)
    config: Any = clip.config.vision_config
    config.projection_dim = clip.config.projection_dim
    vision = CLIPVisionModelWithProjection(config)
    vision.vision_model.load_state_dict(clip.vision_model.state_dict())
    vision.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    vision.save_pretrained(folder)
    return AutoImageProcessor.from_pretrained(files, local_files_only=True)


def write_base(family: ModelFamily, role: str, folder: Path) -> str:
    """Return where an adapter's base model is: its name on the hub, or a copy of its files in ``folder``."""
    checkpoint = family.checkpoint(role)
    if not is_folder(checkpoint.name):
        return checkpoint.name
    (folder / role).mkdir()
    for file in sorted(checkpoint.folder().iterdir()):
        if file.suffix in SUFFIXES:
            shutil.copyfile(file, folder / role / file.name)
    return f"./{role}"


def write_tensors(file: Path, tensors: Mapping[str, Tensor], what: str) -> ExportedPart:
    """Write tensors that no other library has a class for, as safetensors."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: x.detach().cpu().contiguous() for name, x in tensors.items()}, file)
    name = file.stem
    return ExportedPart(
        file.name, what, f'from safetensors.torch import load_file\n\n{name} = load_file("{file.name}")'
    )
