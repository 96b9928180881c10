"""Settings of LaVIT; those of its release stand beside each that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from generators.prompts import check_template
from recsim_gen.core.errors import SettingError

PAPER = {"guidance": 4.0, "min_codes": 20, "max_codes": 200, "picture_guidance": 5.0}
"""The release's, of what is set when drawing; its sizes are those of its files."""


@dataclass(frozen=True)
class LaVITConfig:
    """Settings. Sizes and rates are for the embedded family; published weights bring theirs."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PAPER}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    # What the language model is told
    images: int = 5  # the latest of the history that are shown; 5 in Pigeon
    prompt: str = "{caption}"  # of the reference, behind the pictures; {title} and {category} as well

    # What it draws
    guidance: float = 2.0  # classifier-free, of the language model; 1 is none, 4 in the release
    top_k: int = 50  # the likeliest tokens that are drawn from, as in the release
    temperature: float = 1.0  # of these draws, as in the release
    min_codes: int = 1  # codes of a picture at the least; 20 in the release
    max_codes: int = 200  # and at the most, as in the release; never more than patches
    picture_guidance: float = 0.0  # of the diffusion model; 0: the family's, 5 in the release

    # Tokenizer and decoder
    codes: int = 512  # of the codebook; 16,384 in the release
    code_width: int = 8  # of a code; 32 in the release
    blocks: int = 2  # of the merger and of the decoder; 12 in the release
    keep: float = 0.15  # share of patches that become tokens; about a third in the release
    keep_weight: float = 2.0  # of the square of how far the share is from that
    state_weight: float = 1.0  # of how far the decoder's states are from the text encoder's
    target_text: Literal["keywords", "caption"] = "keywords"  # the text of an item that these are of
    steps: int = 1500  # of their training
    lr: float = 2e-3  # its highest rate of AdamW, after the warm-up
    batch_size: int = 16  # pictures of a batch, in both trainings
    denoised: int = 2  # of them that the diffusion model is asked about, which takes longest

    # Language model
    language_steps: int = 900  # of its training
    language_lr: float = 1e-3  # its highest rate of AdamW, after the warm-up
    drop: float = 0.1  # share of examples that are told nothing, for guidance

    accumulate: int = 1  # batches of a step, which processes share
    weight_decay: float = 0.01  # of AdamW

    def __post_init__(self) -> None:
        least = {"images": 0, "min_codes": 1, "top_k": 1, "codes": 2, "code_width": 1, "blocks": 1}
        least |= dict.fromkeys(("steps", "language_steps", "batch_size", "denoised", "accumulate"), 1)
        for name, value in least.items():
            if getattr(self, name) < value:
                raise SettingError(f"{name} must be {value} or more, got {getattr(self, name)}")
        if self.max_codes < self.min_codes:
            raise SettingError(
                f"max_codes must be {self.min_codes} (min_codes) or more, got {self.max_codes}"
            )
        for name in ("keep", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("guidance", "temperature"):
            if getattr(self, name) <= 0:
                raise SettingError(f"{name} must be above 0, got {getattr(self, name)}")
        check_template(self.prompt)
