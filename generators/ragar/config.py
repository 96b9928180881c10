"""Settings of RAGAR; the paper's value stands beside each that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from recsim_gen.core.errors import SettingError
from recsim_gen.core.types import Reading, Scope

PAPER = {
    **{"k": 5, "history": 20, "noises": 3, "evidence": "caption", "action": "states", "candidates": 1},
    **{"lr": 1e-5, "reward_steps": 0, "image_tokens": 8, "queries": 77},
    **{"mapper_width": 512, "mapper_layers": 4, "mapper_heads": 4, "mapper_feed_forward": 2048},
}
"""What the paper and GILL, whose mapper it takes, give; of what they leave open the defaults stand."""


@dataclass(frozen=True)
class RAGARConfig:
    """Settings. Sizes and rates are for the embedded family; the paper's and GILL's are quoted."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PAPER}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    # Retrieval (Eq. 1–6)
    evidence: Literal["caption", "taste"] = "caption"  # what is asked of a history; taste is ours
    k: int = 5  # items retrieved: "fixed to 5" (Sec. 5.1); 0: the whole history, without calibrator
    history: int = 20  # the latest items of a history that are looked at: 20 (Sec. 5.1)
    weights: Literal["clamp", "softmax"] = "clamp"  # how similarities become weights (Eq. 5)
    keywords: int = 3  # n: the most frequent keywords that are kept; the paper gives no value
    reference: Literal["category", "counted", "first"] = "category"  # what E_key has of it; see `evidence`
    target_text: Literal["keywords", "caption"] = "keywords"  # the text of an item that states are fitted to

    # Looks, where the evidence is taste (ours)
    looks: int = 16  # C: lists of keywords an episode that are thought of
    caution: float = 0.0  # standard deviations of gain taken off: above 0, the reference's look stays more

    # Action: what the policy chooses (Eq. 11–12)
    action: Literal["states", "keywords"] = "states"  # noise on P_gen; keywords (ours): one of the looks
    noises: int = 3  # r: noisy pictures of an episode in a step; 3 (Sec. 5.1), 5 in its ablation
    sigma: float = 0.5  # of the noise on P_gen, whose states have a standard deviation of about 1
    temperature: float = 0.5  # τ of a policy over looks at its start, in units of gain
    anchor: float = 0.0  # weight of the divergence from the policy's start; the paper has none

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

    # Reward (Eq. 13–15)
    reward: Literal["rank", "gain", "none"] = "rank"  # Eq. 14; gain (ours): lower bound of the gain
    reading: Reading = "corrected"  # of Eq. 11–15: as they can be meant; literal: as printed, for comparison
    margin: float = 0.1  # δ, by which a picture is to beat the others, in units of the ranker's score
    doubt: float = 0.5  # κ: standard deviations that a lower bound takes off, where the judge gives them
    standardise: bool = True  # whether advantages of all episodes are made to be of one size
    scope: Scope = "graph"  # of the ranker's answers: graph is exact, and no slower beside the drawing

    # Balance calibrator, reflection, total (Eq. 10, 16–17); the paper names no weights
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

    # Drawing (ours)
    candidates: int = 1  # n: pictures of which the judge's best is kept; 1: no choice
    prior: float = 1.0  # weight of the keywords' expected gain beside the judge of the picture
    encoder: str = "pixels"  # what made the ranker's image features: a spec as of --encoders.image

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise SettingError(f"{name} must be {least} or more, got {getattr(self, name)}")
        for name in ("sigma", "temperature"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0, got {getattr(self, name)}")
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
        """Whether a ranker's word counts in training: without noise there is nothing to compare."""
        return self.reward != "none" and self.rank_weight > 0 and self.noises > 0 and self.steps > 0

    @property
    def least_history(self) -> int:
        """Items that a history must have: what is retrieved; a taste is asked of any history."""
        return 0 if self.evidence == "taste" and self.action == "keywords" else self.k


@dataclass(frozen=True)
class RAGARTasteConfig(RAGARConfig):
    """Settings of ``ragar_taste``, ours: those of `RAGARConfig` with other defaults.

    Chosen on validation choices of Boutique.
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": {"reward_steps": 0}}

    evidence: Literal["caption", "taste"] = "taste"  # keywords by the taste for the reference's category
    action: Literal["states", "keywords"] = "keywords"  # one of the looks, with exact probabilities
    reward: Literal["rank", "gain", "none"] = "gain"  # lower bound of the score less that of the own picture
    anchor: float = 0.05  # weight of KL(π ‖ π₀), in units of reward
    standardise: bool = False  # whether advantages of all episodes are made to be of one size
    steps: int = 100  # of the policy's training
    lr: float = 0.02  # its highest rate
    weight_decay: float = 0.0  # of AdamW
    candidates: int = 4  # n: pictures of which the judge's best is kept; 1: no choice


@dataclass(frozen=True)
class RAGARDPOConfig(RAGARTasteConfig):
    """Settings of ``ragar_dpo``, ours: looks and drawing as of ``ragar_taste``, whose UNet learns from pairs.

    Chosen on validation choices of Boutique.
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {},
        "paper": {"reward_steps": 0, "beta": 2500.0, "lr": 1e-5},
    }

    # Pairs: the judge's best and worst picture of one look
    pairs: int = 1000  # of as many training episodes, as far as there are so many
    noises: int = 3  # r: both are of r + 1 pictures of an episode
    reward_steps: int = 5  # of the sampler while these are drawn; 0: as many as the family draws with

    # Diffusion-DPO (Wallace et al. 2023, Eq. 14) of LoRA on the UNet's attention
    beta: float = 1000.0  # β·T·ω for errors averaged over dimensions: 5000/2 in the authors' code
    lora_rank: int = 8  # of LoRA (Hu et al. 2022) on queries, keys, values and outputs
    lora_alpha: int = 8  # its scale: what LoRA adds is multiplied by lora_alpha / lora_rank
    steps: int = 200  # of the training
    lr: float = 3e-3  # its highest rate
    batch_size: int = 16  # pairs of a batch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs < 1:
            raise SettingError(f"pairs must be 1 or more, got {self.pairs}")
        if not self.beta > 0:
            raise SettingError(f"beta must be above 0, got {self.beta}")
        if self.action != "keywords":
            raise SettingError(f"action must be keywords where the UNet learns, got {self.action}")


_OF_WARM_START = (
    *("image_tokens", "lora_rank", "lora_alpha", "queries", "mapper_width", "mapper_layers", "mapper_heads"),
    *("mapper_feed_forward", "fusion_heads", "calibrator_map", "target_text"),
    *("batch_size", "accumulate", "warm_start", "warm_start_lr"),
)

_LEAST = {
    **dict.fromkeys(("k", "noises", "queries", "warm_start", "reward_steps", "steps"), 0),
    **dict.fromkeys(("history", "keywords", "image_tokens", "lora_rank", "mapper_layers", "batch_size"), 1),
    **dict.fromkeys(("mapper_width", "mapper_heads", "fusion_heads", "evaluate_every", "patience"), 1),
    **dict.fromkeys(("evaluation_episodes", "accumulate", "looks", "candidates"), 1),
    **dict.fromkeys(("margin", "calibrator_weight", "rank_weight", "semantic_weight", "weight_decay"), 0.0),
    **dict.fromkeys(("caution", "doubt", "anchor", "prior"), 0.0),
}
