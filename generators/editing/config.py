"""Settings of the editors, with published values beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from generators.ragar.config import RAGARConfig
from recsim_gen.core.errors import SettingError


@dataclass(frozen=True)
class EditConfig:
    """Settings of ``edit``. The strength is chosen on validation people, the best of four below 1."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": {"draw_steps": 50}}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    strength: float = 0.8  # share of the noise schedule applied to the reference; 1 removes it entirely
    prompt: Literal["taste", "keywords", "caption"] = "taste"  # preferred look, RAGAR's keywords, or caption
    draw_steps: int = 20  # steps of the whole schedule, of which a share ``strength`` is run

    # Keywords, as in `ragar`
    k: int = RAGARConfig.k  # number of retrieved items; 0: the whole history
    history: int = RAGARConfig.history  # number of latest history items used
    keywords: int = RAGARConfig.keywords  # n: number of most frequent keywords kept

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise SettingError(f"strength must be above 0 and at most 1, got {self.strength}")
        if int(self.draw_steps * self.strength) < 1:
            got = f"{self.draw_steps} times {self.strength}"
            raise SettingError(f"draw_steps times strength must be 1 or more, got {got}")
        _ = self.of_evidence

    @property
    def of_evidence(self) -> RAGARConfig:
        """Return the corresponding RAGAR settings. Raises SettingError for a value out of range."""
        by_taste = self.prompt == "taste"
        return RAGARConfig(
            evidence="taste" if by_taste else "caption",
            action="keywords" if by_taste else "states",
            k=self.k,
            history=self.history,
            keywords=self.keywords,
        )


PUBLISHED = {"guidance": 7.5, "image_guidance": 1.5, "draw_steps": 100}
"""Drawing settings of InstructPix2Pix's release (Brooks et al. 2023)."""


@dataclass(frozen=True)
class InstructEditConfig:
    """Settings of ``instruct_edit``. The image guidance is the published one; nothing is tuned on data."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PUBLISHED}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    # Drawing
    guidance: float = 2.0  # guidance by the instruction, 7.5 as published; 1: no guidance at all
    image_guidance: float = 1.5  # guidance by the reference's image if guidance is above 1; as published
    draw_steps: int = 20  # sampling steps; 100 as published
    additions: int = 3  # most keywords to add, if they have no fixed places

    # Training, if the family names no instruct_pix2pix
    pairs: int = 4000  # number of generated image pairs, before and after an edit, to train on
    steps: int = 1200  # training steps
    batch_size: int = 16  # pairs per batch
    accumulate: int = 1  # batches per step, shared by processes
    lr: float = 1e-3  # peak learning rate of AdamW, after the warm-up
    weight_decay: float = 0.01  # of AdamW
    drop: float = 0.05  # share of examples without text, without image, and without both; as published

    def __post_init__(self) -> None:
        for name in ("draw_steps", "additions", "pairs", "steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("guidance", "image_guidance"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 (none) or more, got {getattr(self, name)}")
        if not 0 <= self.drop < 1 / 3:
            raise SettingError(f"drop must be in [0, 1/3), got {self.drop}")

    @property
    def of_training(self) -> dict[str, Any]:
        """Return the settings that the UNet depends on; trainings that differ only in others share it."""
        names = ("pairs", "steps", "batch_size", "accumulate", "lr", "weight_decay", "drop")
        return {name: getattr(self, name) for name in names}

    @property
    def of_evidence(self) -> RAGARConfig:
        """Return the RAGAR settings that select looks by taste, as in `ragar_taste`."""
        return RAGARConfig(evidence="taste", action="keywords")
