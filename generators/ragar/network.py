"""All of RAGAR that learns: language model, Modal Mapper, fusion, and W where it is learned."""

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
    """What the network says of B people: E_m (Eq. 8), and the part of P_gen that is learned (Eq. 9).

    Both (B, 1 + Q, d); P_gen is ``learned`` followed by E_key.
    """

    joined: Tensor
    learned: Tensor


class Network(nn.Module):
    """Prompts and E_key to P_gen.

    Parameters
    ----------
    family: whose language model it changes.
    length, width: of the states of the diffusion model's text encoder.
    visual: width of E_vis, for the map W of Eq. 10.
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
        """Of ``prompts`` (B), E_key (B, T, d) and where it has words (B, T)."""
        text, image = self.language(prompts)
        joined = self.fusion.joined(text, self.mapper(image))
        return States(joined, self.fusion(joined, key, mask))

    def trainable(self) -> dict[str, nn.Parameter]:
        """What is learned, by name: the only weights that change and the only ones that are kept."""
        return {name: x for name, x in self.named_parameters() if x.requires_grad}

    @torch.no_grad()
    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Take what was learned. Raises DataError where names or shapes are others."""
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
