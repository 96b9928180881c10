"""Settings of the editors; published values stand beside those that have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from generators.ragar.config import RAGARConfig
from recsim_gen.core.errors import SettingError


@dataclass(frozen=True)
class EditConfig:
    """Settings of ``edit``. The strength is the middle of those to be measured, not chosen on data yet."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": {"draw_steps": 50}}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    strength: float = 0.6  # share of the noise's schedule that the reference is covered by: 1 leaves nothing
    prompt: Literal["taste", "keywords", "caption"] = "taste"  # look by taste, RAGAR's keywords, own caption
    draw_steps: int = 20  # of the whole schedule; strength's share of them is done

    # Keywords, as of `ragar`
    k: int = RAGARConfig.k  # items retrieved; 0: the whole history
    history: int = RAGARConfig.history  # the latest items of a history that are looked at
    keywords: int = RAGARConfig.keywords  # n: the most frequent keywords that are kept

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise SettingError(f"strength must be above 0 and at most 1, got {self.strength}")
        if int(self.draw_steps * self.strength) < 1:
            got = f"{self.draw_steps} times {self.strength}"
            raise SettingError(f"draw_steps times strength must be 1 or more, got {got}")
        _ = self.of_evidence

    @property
    def of_evidence(self) -> RAGARConfig:
        """The same as RAGAR's settings. Raises SettingError for a value out of range."""
        by_taste = self.prompt == "taste"
        return RAGARConfig(
            evidence="taste" if by_taste else "caption",
            action="keywords" if by_taste else "states",
            k=self.k,
            history=self.history,
            keywords=self.keywords,
        )


PUBLISHED = {"guidance": 7.5, "image_guidance": 1.5, "draw_steps": 100}
"""Of InstructPix2Pix's release (Brooks et al. 2023), of what is set when drawing."""


@dataclass(frozen=True)
class InstructEditConfig:
    """Settings of ``instruct_edit``. The image guidance is the published one; none was chosen on data yet."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PUBLISHED}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    # Drawing
    guidance: float = 2.0  # towards the instruction; 7.5 as published; 1: none, nor by the picture
    image_guidance: float = 1.5  # towards the reference's picture, if guidance is above 1; as published
    draw_steps: int = 20  # of the sampler; 100 as published
    additions: int = 3  # keywords told at most, where they cannot be told one by one in place of others

    # Training, where the family names no instruct_pix2pix
    pairs: int = 4000  # pictures before and after an edit that are drawn to learn from
    steps: int = 1200  # of the training
    batch_size: int = 16  # pairs of a batch
    accumulate: int = 1  # batches of a step, which processes share
    lr: float = 1e-3  # the highest rate of AdamW, after the warm-up
    weight_decay: float = 0.01  # of AdamW
    drop: float = 0.05  # share of examples without text, without picture, and without both; as published

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
        """The settings that the UNet depends on; all others may differ and share it."""
        names = ("pairs", "steps", "batch_size", "accumulate", "lr", "weight_decay", "drop")
        return {name: getattr(self, name) for name in names}

    @property
    def of_evidence(self) -> RAGARConfig:
        """What looks are chosen by: the taste for keywords, as `ragar_taste` has it."""
        return RAGARConfig(evidence="taste", action="keywords")
