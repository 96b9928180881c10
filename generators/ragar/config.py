"""Settings of RAGAR; the paper's value stands beside each that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recsim_gen.core.errors import SettingError
from recsim_gen.core.types import Reading, Scope


@dataclass(frozen=True)
class RAGARConfig:
    """Settings. Sizes and rates are for the embedded family; the paper's and GILL's are quoted."""

    # Retrieval (Eq. 1–6)
    k: int = 5  # items retrieved: "fixed to 5" (Sec. 5.1); 0: the whole history, without calibrator
    history: int = 20  # the latest items of a history that are looked at: 20 (Sec. 5.1)
    weights: Literal["clamp", "softmax"] = "clamp"  # how similarities become weights (Eq. 5)
    keywords: int = 3  # n: the most frequent keywords that are kept; the paper gives no value
    target_text: Literal["keywords", "caption"] = "keywords"  # the text of an item that states are fitted to

    # Language model, Modal Mapper, fusion (Eq. 7–9)
    image_tokens: int = 8  # L: tokens [IMG1]…[IMGL] of the language model; 8 in GILL
    lora_rank: int = 8  # of LoRA (Hu et al. 2022) on the language model's queries and values
    lora_alpha: int = 16  # its scale: what LoRA adds is multiplied by lora_alpha / lora_rank
    queries: int = 0  # states that the mapper gives; 0: as many as the text encoder has, 77 in GILL
    mapper_width: int = 128  # of the Modal Mapper's transformer; 512 in GILL
    mapper_layers: int = 4  # of the encoder and of the decoder, as in GILL
    mapper_heads: int = 4  # of its attention, as in GILL; must divide mapper_width
    mapper_feed_forward: int = 256  # width of its feed-forward layers; 2048 in GILL
    fusion_heads: int = 4  # of the fusion's attention; must divide the text encoder's width

    # Balance calibrator, reflection, total (Eq. 10–17); the paper names no weights
    reading: Reading = "corrected"  # of Eq. 11–15: as they can be meant; literal: as printed, for comparison
    reward: Literal["rank", "none"] = "rank"  # rank: a judge's score of the pictures; none: no judge is asked
    noises: int = 3  # r: noisy pictures of an episode in a step; 3 (Sec. 5.1), 5 in its ablation
    sigma: float = 0.5  # of the noise on P_gen, whose states have a standard deviation of about 1
    margin: float = 0.1  # δ, by which a picture is to beat the others, in units of the ranker's score
    standardise: bool = True  # whether advantages of all episodes are made to be of one size
    scope: Scope = "graph"  # of the ranker's answers: graph is exact, and no slower beside the drawing
    calibrator_weight: float = 0.5  # α, of the balance calibrator's loss; 0 is without
    rank_weight: float = 1.0  # β, of the reward's loss; 0 is without
    semantic_weight: float = 0.1  # γ, of the semantic loss; 0 is without
    calibrator_map: Literal["ridge", "learned"] = "ridge"  # W of Eq. 10; a learned one can collapse

    # Training
    warm_start: int = 1500  # steps in which the mapper learns to speak as the text encoder does
    warm_start_lr: float = 2e-3  # the highest rate of AdamW in these steps
    steps: int = 200  # of the joint training that follows
    lr: float = 2e-4  # its highest rate; 1e-5 (Sec. 5.1), with 7 B parameters behind it
    batch_size: int = 8  # episodes of a batch
    accumulate: int = 1  # batches of a step, which processes share
    reward_steps: int = 5  # of the sampler while training; 0: as many as the family draws with
    weight_decay: float = 0.01  # of AdamW in the joint training
    evaluate_every: int = 25  # steps between two evaluations, where a ranker rewards
    evaluation_episodes: int = 16  # of the training's episodes, the same in each evaluation
    patience: int = 3  # evaluations that are averaged to tell whether the judge falls; see `watch`
    encoder: str = "pixels"  # what made the ranker's image features: a spec as of --encoders.image

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise SettingError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not self.sigma > 0:
            raise SettingError(f"sigma must be above 0, got {self.sigma}")
        if self.mapper_width % self.mapper_heads:
            multiple = f"a multiple of mapper_heads ({self.mapper_heads})"
            raise SettingError(f"mapper_width must be {multiple}, got {self.mapper_width}")

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
        return self.reward == "rank" and self.rank_weight > 0 and self.noises > 0


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
    **dict.fromkeys(("margin", "calibrator_weight", "rank_weight", "semantic_weight", "weight_decay"), 0.0),
}
