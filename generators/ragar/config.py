"""Settings of RAGAR; the paper's value stands beside each that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recsim_gen.core.errors import SettingError
from recsim_gen.core.types import Scope
from recsim_gen.judging.reward import Reading


@dataclass(frozen=True)
class RAGARConfig:
    """Settings. Sizes and rates are for the embedded family; the paper's and GILL's are quoted."""

    # Retrieval (Eq. 1–6)
    k: int = 5  # "fixed to 5" (Sec. 5.1); 0 takes the whole history and drops the calibrator
    history: int = 20  # the latest items of a history that are looked at: 20 (Sec. 5.1)
    weights: Literal["clamp", "softmax"] = "clamp"  # how similarities become weights (Eq. 5)
    keywords: int = 3  # n: the most frequent keywords that are kept; the paper gives no value
    target_text: Literal["keywords", "caption"] = "keywords"  # the text of an item that states are fitted to

    # Language model, Modal Mapper, fusion (Eq. 7–9)
    image_tokens: int = 8  # L: [IMG1]…[IMGL]; 8 in GILL
    lora_rank: int = 8
    lora_alpha: int = 16
    queries: int = 0  # states that the mapper gives; 0: as many as the text encoder has, 77 in GILL
    mapper_width: int = 128  # 512 in GILL
    mapper_layers: int = 4  # of the encoder and of the decoder, as in GILL
    mapper_heads: int = 4  # as in GILL
    mapper_feed_forward: int = 256  # 2048 in GILL
    fusion_heads: int = 4

    # Balance calibrator, reflection, total (Eq. 10–17); the paper names no weights
    reading: Reading = "corrected"  # literal: as printed, for comparison
    reward: Literal["rank", "none"] = "rank"
    noises: int = 3  # r: 3 (Sec. 5.1); 5 in its ablation
    sigma: float = 0.5  # of the noise on P_gen, whose states have a standard deviation of about 1
    margin: float = 0.1  # δ, in units of the ranker's score
    standardise: bool = True  # advantages of all episodes of one size
    scope: Scope = "graph"  # exact; no slower than `item` beside the drawing
    calibrator: float = 0.5  # α; 0 is without
    rank: float = 1.0  # β
    semantic: float = 0.1  # γ; 0 is without
    calibrator_map: Literal["ridge", "learned"] = "ridge"  # W of Eq. 10; a learned one can collapse

    # Training
    warm_start: int = 1500  # steps in which the mapper learns to speak as the text encoder does
    warm_start_lr: float = 2e-3
    steps: int = 200
    lr: float = 2e-4  # 1e-5 (Sec. 5.1), with 7 B parameters behind it
    batch_size: int = 8  # episodes of a batch
    accumulate: int = 1  # batches of a step, which processes share
    reward_steps: int = 5  # of the sampler while training; 0: as many as the family draws with
    weight_decay: float = 0.01
    evaluate_every: int = 25
    evaluation_episodes: int = 16
    patience: int = 3  # evaluations that are averaged to tell whether the judge falls; see `watch`
    encoder: str = "pixels"  # what made the ranker's image features: a spec as of --encoders.image

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise SettingError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not self.sigma > 0:
            raise SettingError(f"sigma must be above 0, got {self.sigma}")
        if self.mapper_width % self.mapper_heads:
            wanted = f"a multiple of mapper_heads ({self.mapper_heads})"
            raise SettingError(f"mapper_width must be {wanted}, got {self.mapper_width}")

    @property
    def of_warm_start(self) -> dict[str, Any]:
        """The settings that the warm start depends on; all others may differ and share it."""
        return {name: getattr(self, name) for name in _OF_WARM_START}

    @property
    def samples(self) -> int:
        """T: pictures of an episode in a step, the one without noise among them."""
        return self.noises + 1

    @property
    def rewarded(self) -> bool:
        """Whether a ranker's word counts: without noise there is nothing to compare."""
        return self.reward == "rank" and self.rank > 0 and self.noises > 0


_OF_WARM_START = (
    *("image_tokens", "lora_rank", "lora_alpha", "queries", "mapper_width", "mapper_layers", "mapper_heads"),
    *("mapper_feed_forward", "fusion_heads", "calibrator_map", "target_text"),
    *("batch_size", "accumulate", "warm_start", "warm_start_lr"),
)

_LEAST = {
    **dict.fromkeys(("k", "noises", "queries", "warm_start", "reward_steps", "steps"), 0),
    **dict.fromkeys(("history", "keywords", "image_tokens", "lora_rank", "mapper_layers", "batch_size"), 1),
    **dict.fromkeys(("mapper_width", "mapper_heads", "fusion_heads", "evaluate_every", "patience"), 1),
    **dict.fromkeys(("evaluation_episodes", "accumulate"), 1),
    **dict.fromkeys(("margin", "calibrator", "rank", "semantic", "weight_decay"), 0.0),
}
