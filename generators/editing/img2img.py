"""``edit``: adds noise to the reference's image and denoises it with a prompt (SDEdit, Meng et al. 2022).

``strength`` is the share of the noise schedule that is applied. The prompt is the look that fits the person's
taste, RAGAR's keywords, or the reference's own caption. Uses diffusers' ``StableDiffusionImg2ImgPipeline``
with the family's models and the scheduler of their checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.editing.config import EditConfig
from generators.editing.editor import Editor
from generators.prompts import prompt_of

if TYPE_CHECKING:
    from recsim_gen.core.protocols import ExportedPart
    from recsim_gen.core.types import Episode


class Edit(Editor):
    """The family's Stable Diffusion, started from the reference's image instead of pure noise."""

    name = "edit"
    config_class = EditConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.learns = self.config.prompt == "taste"
        roles = {"caption": (), "keywords": ("text_encoder", "language_model"), "taste": ("language_model",)}
        self.roles = ("diffusion", *roles[self.config.prompt])

    def words(self, episode: Episode) -> str:
        """Return the prompt. Raises DataError if the reference has no text."""
        if self.config.prompt == "caption":
            return prompt_of(self.catalog, episode.reference, "{caption}")
        (looks,) = self._evidence.looks([episode])
        return self._evidence.text(episode.reference, looks.keywords[0])

    def pipeline(self) -> Any:
        """Return the pipeline of the family's models, loaded on first use."""
        return self._pipeline

    def arguments(self) -> dict[str, Any]:
        """Return strength, steps and guidance."""
        return {
            "strength": self.config.strength,
            "num_inference_steps": self.config.draw_steps,
            "guidance_scale": self.family.guidance,
        }

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the pipeline, and the taste model that selects prompts."""
        if not self.learns:
            return super().export(folder, user_ids)
        from recsim_gen.models.exporting import write_pipeline

        return [write_pipeline(self.family, folder), *self._evidence.export(folder)]

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import StableDiffusionImg2ImgPipeline

        own: Any = self.family.diffusion(device=self.device)  # Any: its type stubs lack attributes
        made: Any = StableDiffusionImg2ImgPipeline(**own.components, requires_safety_checker=False)
        made.set_progress_bar_config(disable=True)
        return made
