"""All trained parts of RAGAR: language model, Modal Mapper, fusion, and W if it is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from generators.ragar.fusion import Fusion
from generators.ragar.language import ImageTokens
from generators.ragar.mapper import ModalMapper
from recsim_gen.core.errors import DataError
from recsim_gen.core.training_loop import seeded

if TYPE_CHECKING:
    from generators.ragar.config import RAGARConfig
    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.family import ModelFamily


class States(NamedTuple):
    """Output of the network for B people: E_m (Eq. 8), and the learned part of P_gen (Eq. 9).

    Both (B, 1 + Q, d); P_gen is ``learned`` followed by E_key.
    """

    joined: Tensor
    learned: Tensor


class Network(nn.Module):
    """Maps prompts and E_key to P_gen.

    Parameters
    ----------
    family
        Family whose language model is modified.
    config
        Settings.
    length, width
        Of the states of the diffusion model's text encoder.
    visual
        Width of E_vis, for the map W of Eq. 10.
    device
        Device of the models.
    rng
        Source of the initial weights.
    """

    def __init__(
        self,
        family: ModelFamily,
        config: RAGARConfig,
        *,
        length: int,
        width: int,
        visual: int,
        device: str | None,
        rng: Rng,
    ) -> None:
        super().__init__()
        model, tokenizer = family.language_model(device=device)
        self.language = ImageTokens(
            model,
            tokenizer,
            tokens=config.image_tokens,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            rng=rng,
            gradient_checkpointing=family.gradient_checkpointing,
        )
        with seeded(rng.for_("mapper")):
            self.mapper = ModalMapper(
                self.language.width,
                width,
                width=config.mapper_width,
                layers=config.mapper_layers,
                heads=config.mapper_heads,
                feed_forward=config.mapper_feed_forward,
                queries=config.queries or length,
            )
            self.fusion = Fusion(self.language.width, width, config.fusion_heads)
            self.visual = nn.Linear(visual, width) if config.calibrator_map == "learned" else None
        self.to(model.device)

    def forward(self, prompts: Sequence[str], key: Tensor, mask: Tensor) -> States:
        """Return the states for ``prompts`` (B), E_key (B, T, d) and its mask of words (B, T)."""
        text, image = self.language(prompts)
        joined = self.fusion.joined(text, self.mapper(image))
        return States(joined, self.fusion(joined, key, mask))

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by name, the only ones that are changed and saved."""
        return {name: x for name, x in self.named_parameters() if x.requires_grad}

    @torch.no_grad()
    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Load what was learned. Raises DataError for other names or shapes."""
        expected = {name: tuple(x.shape) for name, x in self.trainable().items()}
        got = {name: tuple(x.shape) for name, x in weights.items()}
        if expected != got:
            name = min(dict(expected.items() ^ got.items()))
            raise DataError(
                f"weights {name!r} must be {expected.get(name)}, got {got.get(name)}",
                remedy="Were they learned with other models or settings? Train again",
            )
        for name, parameter in self.trainable().items():
            parameter.copy_(weights[name])
