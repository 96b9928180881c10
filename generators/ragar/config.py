"""Settings of RAGAR, with the paper's values beside them."""

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
"""Values of the paper and of GILL, whose mapper it uses; defaults where they give none."""


@dataclass(frozen=True)
class RAGARConfig:
    """Settings. Sizes and rates are for the embedded family; those of the paper and of GILL are quoted."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": PAPER}

    recipe: Literal["", "embedded", "paper"] = ""  # values of all below; "": paper with --models paper

    # Retrieval (Eq. 1–6)
    evidence: Literal["caption", "taste"] = "caption"  # evidence from a history; taste is ours
    k: int = 5  # retrieved items: "fixed to 5" (Sec. 5.1); 0: whole history, no calibrator
    history: int = 20  # number of latest history items used: 20 (Sec. 5.1)
    weights: Literal["clamp", "softmax"] = "clamp"  # how similarities become weights (Eq. 5)
    keywords: int = 3  # n: number of most frequent keywords kept; the paper gives no value
    reference: Literal["category", "counted", "first"] = "category"  # its part in E_key; see `evidence`
    target_text: Literal["keywords", "caption"] = "keywords"  # text of an item that states are fitted to

    # Looks, if the evidence is taste (ours)
    looks: int = 16  # C: candidate lists of keywords per episode
    caution: float = 0.0  # standard deviations subtracted from gains: above 0 favours the reference's look

    # Action: what the policy selects (Eq. 11–12)
    action: Literal["states", "keywords"] = "states"  # noise on P_gen; keywords (ours): one of the looks
    noises: int = 3  # r: noisy images per episode and step; 3 (Sec. 5.1), 5 in its ablation
    sigma: float = 0.5  # sd of the noise on P_gen, whose states have a standard deviation of about 1
    temperature: float = 0.5  # τ of the initial policy over looks, in units of gain
    anchor: float = 0.0  # weight of the divergence from the initial policy; the paper has none

    # Language model, Modal Mapper, fusion (Eq. 7–9)
    image_tokens: int = 8  # L: tokens [IMG1]…[IMGL] of the language model; 8 in GILL
    lora_rank: int = 8  # rank of LoRA (Hu et al. 2022) on the language model's queries and values
    lora_alpha: int = 16  # scale of LoRA: its output is multiplied by lora_alpha / lora_rank
    queries: int = 0  # output states of the mapper; 0: as many as the text encoder's, 77 in GILL
    mapper_width: int = 128  # width of the Modal Mapper's transformer; 512 in GILL
    mapper_layers: int = 4  # layers of its encoder and of its decoder, as in GILL
    mapper_heads: int = 4  # attention heads, as in GILL; must divide mapper_width
    mapper_feed_forward: int = 256  # width of its feed-forward layers; 2048 in GILL
    fusion_heads: int = 4  # heads of the fusion's attention; must divide the text encoder's width

    # Reward (Eq. 13–15)
    reward: Literal["rank", "gain", "none"] = "rank"  # Eq. 14; gain (ours): lower bound of the gain
    reading: Reading = "corrected"  # of Eq. 11–15: as intended; literal: as printed, for comparison
    margin: float = 0.1  # δ, by which an image should beat the others, in units of the ranker's score
    doubt: float = 0.5  # κ: standard deviations subtracted for a lower bound, if the judge reports them
    standardise: bool = True  # whether advantages of each episode are standardised
    scope: Scope = "graph"  # of the ranker's substitution: graph is exact, and its time negligible

    # Balance calibrator, reflection, total (Eq. 10, 16–17); the paper names no weights
    calibrator_weight: float = 0.5  # α, weight of the balance calibrator's loss; 0: none
    rank_weight: float = 1.0  # β, weight of the reward's loss; 0: none
    semantic_weight: float = 0.1  # γ, weight of the semantic loss; 0: none
    calibrator_map: Literal["ridge", "learned"] = "ridge"  # W of Eq. 10; a learned W can collapse

    # Training
    warm_start: int = 1500  # steps in which the mapper learns to imitate the text encoder
    warm_start_lr: float = 2e-3  # peak learning rate of AdamW in these steps
    steps: int = 200  # steps of the joint training that follows
    lr: float = 2e-4  # its peak learning rate; 1e-5 (Sec. 5.1) with a language model of 7 B
    batch_size: int = 8  # episodes per batch
    accumulate: int = 1  # batches per step, shared by processes
    reward_steps: int = 5  # sampling steps while training; 0: those of the family
    weight_decay: float = 0.01  # of AdamW in the joint training
    evaluate_every: int = 25  # steps between evaluations, if there is a reward
    evaluation_episodes: int = 16  # number of training episodes used in each evaluation
    patience: int = 3  # evaluations averaged to detect a falling judge; see `watch`

    # Drawing (ours)
    candidates: int = 1  # n: images of which the judge's best is kept; 1: no selection
    prior: float = 1.0  # weight of the keywords' expected gain in the selection
    encoder: str = "pixels"  # encoder of the ranker's image features, as for --encoders.image

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
        """Return the settings that the warm start depends on.

        Trainings that differ only in others share it.
        """
        return {name: getattr(self, name) for name in _OF_WARM_START}

    @property
    def samples(self) -> int:
        """T: images per episode and step, including the one without noise."""
        return self.noises + 1

    @property
    def rewarded(self) -> bool:
        """Whether a ranker gives a reward in training; without noise there is nothing to compare."""
        return self.reward != "none" and self.rank_weight > 0 and self.noises > 0 and self.steps > 0

    @property
    def least_history(self) -> int:
        """Minimal length of a history: k for retrieval; a taste works with any history."""
        return 0 if self.evidence == "taste" and self.action == "keywords" else self.k


@dataclass(frozen=True)
class RAGARTasteConfig(RAGARConfig):
    """Settings of ``ragar_taste``, ours: those of `RAGARConfig` with other defaults.

    Tuned on validation choices of Boutique.
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {}, "paper": {"reward_steps": 0}}

    evidence: Literal["caption", "taste"] = "taste"  # keywords by the taste for the reference's category
    action: Literal["states", "keywords"] = "keywords"  # one of the looks, with exact probabilities
    reward: Literal["rank", "gain", "none"] = "gain"  # lower bound of the score minus that of the own image
    anchor: float = 0.05  # weight of KL(π ‖ π₀), in units of reward
    standardise: bool = False  # whether advantages of each episode are standardised
    steps: int = 100  # training steps of the policy
    lr: float = 0.02  # its peak learning rate
    weight_decay: float = 0.0  # of AdamW
    candidates: int = 4  # n: images of which the judge's best is kept; 1: no selection


@dataclass(frozen=True)
class RAGARDPOConfig(RAGARTasteConfig):
    """Settings of ``ragar_dpo``, ours: looks and drawing as in ``ragar_taste``; the UNet learns from pairs.

    Tuned on validation choices of Boutique.
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {},
        "paper": {"reward_steps": 0, "beta": 2500.0, "lr": 1e-5},
    }

    # Pairs: the judge's best and worst image of one look
    pairs: int = 1000  # number of training episodes to draw pairs for, if there are so many
    noises: int = 3  # r: both are selected from r + 1 images of an episode
    reward_steps: int = 5  # sampling steps for these images; 0: those of the family

    # Diffusion-DPO (Wallace et al. 2023, Eq. 14) of LoRA on the UNet's attention
    beta: float = 1000.0  # β·T·ω for errors averaged over dimensions: 5000/2 in the authors' code
    lora_rank: int = 8  # rank of LoRA (Hu et al. 2022) on queries, keys, values and outputs
    lora_alpha: int = 8  # scale of LoRA: its output is multiplied by lora_alpha / lora_rank
    steps: int = 200  # training steps
    lr: float = 3e-3  # its peak learning rate
    batch_size: int = 16  # pairs per batch

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
