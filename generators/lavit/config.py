"""Settings of LaVIT, with the values of its release beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from generators.prompts import check_template
from recsim_gen.core.errors import SettingError

PAPER = {"guidance": 4.0, "min_codes": 20, "max_codes": 200, "picture_guidance": 5.0}
"""Drawing settings of the release; its sizes are read from its files."""


@dataclass(frozen=True)
class LaVITConfig:
    """Settings. Sizes and rates are for the embedded family; published weights have their own."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PAPER}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    # Input of the language model
    images: int = 5  # number of latest history images; 5 in Pigeon
    prompt: str = "{caption}"  # text after the images; {caption}, {title}, {category} of the reference

    # Drawing
    guidance: float = 2.0  # classifier-free guidance of the language model; 1: none, 4 in the release
    top_k: int = 50  # number of most likely tokens to sample from, as in the release
    temperature: float = 1.0  # sampling temperature, as in the release
    min_codes: int = 1  # fewest codes of an image; 20 in the release
    max_codes: int = 200  # most codes of an image, as in the release; never more than patches
    picture_guidance: float = 0.0  # guidance of the diffusion model; 0: the family's, 5 in the release

    # Tokenizer and decoder
    codes: int = 512  # size of the codebook; 16,384 in the release
    code_width: int = 8  # width of a code; 32 in the release
    blocks: int = 1  # blocks of the merger and of the decoder; 12 in the release
    keep: float = 0.3  # share of patches that become tokens; about a third in the release
    keep_weight: float = 2.0  # weight of the squared deviation from that share
    feature_weight: float = 0.3  # weight of 1 − cos of decoded and true features; 1 in LaVIT
    state_weight: float = 1.0  # weight of the distance of the decoder's states from the text encoder's
    word_weight: float = 4.0  # weight of the states of a text's own tokens, relative to those of its padding
    target_text: Literal["keywords", "caption"] = "keywords"  # text whose states are the targets
    steps: int = 2000  # training steps of tokenizer and decoder
    lr: float = 2e-3  # its peak learning rate of AdamW, after the warm-up
    batch_size: int = 32  # images per batch

    # Language model
    language_steps: int = 1000  # training steps of the language model
    language_lr: float = 1e-3  # its peak learning rate of AdamW, after the warm-up
    language_batch_size: int = 16  # images to say per batch
    drop: float = 0.1  # share of examples without any condition, for guidance

    accumulate: int = 1  # batches per step, shared by processes
    weight_decay: float = 0.01  # of AdamW

    def __post_init__(self) -> None:
        least = {"images": 0, "min_codes": 1, "top_k": 1, "codes": 2, "code_width": 1, "blocks": 1}
        least |= dict.fromkeys(("steps", "batch_size", "language_steps", "language_batch_size"), 1)
        least["accumulate"] = 1
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
