"""``edit``: the reference's picture under noise, drawn again from there (SDEdit, Meng et al. 2022).

How much is covered is its ``strength``; what it is drawn to is the look that somebody's taste would have of
it, RAGAR's keywords, or its own caption. As ``StableDiffusionImg2ImgPipeline`` of diffusers does it, with the
family's models and the scheduler of their checkpoint.
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
    """The family's Stable Diffusion from the reference's picture instead of from noise alone."""

    name = "edit"
    config_class = EditConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.learns = self.config.prompt == "taste"
        asked = {"caption": (), "keywords": ("text_encoder", "language_model"), "taste": ("language_model",)}
        self.roles = ("diffusion", *asked[self.config.prompt])

    def words(self, episode: Episode) -> str:
        """The prompt. Raises DataError for a reference without text."""
        if self.config.prompt == "caption":
            return prompt_of(self.catalog, episode.reference, "{caption}")
        (looks,) = self._evidence.looks([episode])
        return self._evidence.text(episode.reference, looks.keywords[0])

    def pipeline(self) -> Any:
        """The family's models, loaded when they are first needed."""
        return self._pipeline

    def arguments(self) -> dict[str, Any]:
        """Strength, steps and guidance."""
        return {
            "strength": self.config.strength,
            "num_inference_steps": self.config.draw_steps,
            "guidance_scale": self.family.guidance,
        }

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """The pipeline, and the tastes that prompts are chosen by."""
        if not self.learns:
            return super().export(folder, user_ids)
        from recsim_gen.models.exporting import write_pipeline

        return [write_pipeline(self.family, folder), *self._evidence.export(folder)]

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import StableDiffusionImg2ImgPipeline

        own: Any = self.family.diffusion(device=self.device)  # whose types say less than it has
        made: Any = StableDiffusionImg2ImgPipeline(**own.components, requires_safety_checker=False)
        made.set_progress_bar_config(disable=True)
        return made
