"""Preferences instead of a policy gradient: LoRA of the UNet by Diffusion-DPO (Wallace et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.denoising import Denoising, draw_rows, frozen_sampler
from generators.ragar.keyword_action import KeywordAction
from generators.ragar.pairs import PairDrawing, Pairs, forget_pairs
from generators.ragar.training import schedule_of
from generators.unet_lora import install, restore, without, write_lora
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import fit, forget

if TYPE_CHECKING:
    from generators.ragar.action import TrainingContext
    from generators.ragar.config import RAGARDPOConfig
    from generators.ragar.evidence import Evidence
    from generators.ragar.judge import PictureJudge
    from generators.sampler import Sampler
    from recsim_gen.core.protocols import ExportedPart
    from recsim_gen.core.types import Episode

PART, PREFIX = "ragar-dpo", "unet."


class PreferenceAction(KeywordAction):
    """The looks of the evidence, drawn by a UNet that learned which pictures of a look a judge prefers.

    Its ``sampler`` is changed: nobody else holds it.
    """

    config: RAGARDPOConfig

    def __init__(self, evidence: Evidence, sampler: Sampler, config: RAGARDPOConfig) -> None:
        super().__init__(evidence, sampler, config)
        self._lora: dict[str, Tensor] = {}

    def train(
        self,
        episodes: Sequence[Episode],
        judge: PictureJudge | None,
        watching: PictureJudge | None,
        run: TrainingContext,
    ) -> None:
        """From pairs that ``judge`` orders; without it the UNet stays as it is. The policy always does."""
        super().train(episodes, None, watching, run)
        if judge is not None:
            denoising = self.denoising()
            pairs = PairDrawing(self, denoising, judge, episodes)(self.config.pairs, run)
            self.learn(pairs, denoising, run)
            forget_pairs(run)

    def denoising(self) -> Denoising:
        """What pairs are drawn with, and what learns from them: a model of its own, frozen as yet."""
        sampler = frozen_sampler(self.evidence.family.to_learn(), self.evidence.device)
        sampler.steps = self.config.reward_steps or sampler.steps
        return Denoising(sampler, self.evidence.catalog)

    def learn(self, pairs: Pairs, denoising: Denoising, run: TrainingContext) -> None:
        """Learn from these pairs, and draw with what was learned from now on."""
        config, unet = self.config, denoising.sampler.pipeline.unet
        learned = install(unet, config.lora_rank, config.lora_alpha, run.rng.for_("lora"))

        def loss(step: Rng) -> dict[str, Tensor]:
            rows = draw_rows(len(pairs.texts), config.batch_size, step.numpy())
            return preference_loss(*squared_errors(denoising, pairs, rows, step), config.beta)

        fit(
            PART,
            nn.ParameterList(learned.values()),
            loss,
            schedule_of(config),
            output=run.folder,
            data=run.data,
            rng=run.rng.for_("preference"),
            tracker=run.tracker,
        )
        forget(run.folder, PART)
        self._put({name: x.detach().cpu().clone() for name, x in learned.items()})

    def weights(self) -> dict[str, Tensor]:
        """The policy's, and LoRA of the UNet where it learned."""
        return {**super().weights(), **{f"{PREFIX}{name}": x for name, x in self._lora.items()}}

    def export(self, folder: Path) -> list[ExportedPart]:
        """With LoRA of the UNet, where it learned, as `load_lora_weights` reads it."""
        lora = [write_lora(self.sampler.pipeline.unet, folder)] if self._lora else []
        return [*lora, *super().export(folder)]

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Take what was learned. Raises DataError where it does not fit the models or the catalogue."""
        lora = {name.removeprefix(PREFIX): x for name, x in weights.items() if name.startswith(PREFIX)}
        super().restore({name: x for name, x in weights.items() if not name.startswith(PREFIX)})
        if lora:
            self._put(lora)

    def _put(self, lora: dict[str, Tensor]) -> None:
        """Draw with this LoRA from now on."""
        config = self.config
        restore(install(self.sampler.pipeline.unet, config.lora_rank, config.lora_alpha, Rng(0)), lora)
        self._lora = lora


def squared_errors(
    denoising: Denoising, pairs: Pairs, rows: Sequence[int], step: Rng
) -> tuple[Tensor, Tensor]:
    """Squared errors (2, B) with LoRA and, without a gradient, those without it; the better pictures first.

    Of noise or velocity, whichever the model predicts, averaged over dimensions. Both pictures of a pair have
    one timestep and one noise.
    """
    sampler = denoising.sampler
    latents = pairs.latents[list(rows)].transpose(0, 1).to(sampler.device)
    noise, t = (x.repeat(2, *[1] * (x.ndim - 1)) for x in denoising.noise(latents[0], step.torch()))
    states = sampler.states([pairs.texts[row] for row in rows]).repeat(2, 1, 1)

    def errors() -> Tensor:
        predicted, right = denoising.predicted(latents.flatten(0, 1), noise, t, states)
        return (predicted - right).square().mean((1, 2, 3)).unflatten(0, (2, -1))

    with torch.no_grad(), without(sampler.pipeline.unet):
        reference = errors()
    return errors(), reference


def preference_loss(errors: Tensor, reference: Tensor, beta: float) -> dict[str, Tensor]:
    """−mean log σ(m) with m = −β·((e_w − e_w⁰) − (e_l − e_l⁰)) (Eq. 14; its T·ω(λ_t) are part of β).

    Parameters
    ----------
    errors, reference
        (2, B) ≥ 0: squared errors e of what learns and e⁰ of the reference model, on the pictures that
        were preferred (w) and on the others (l).
    beta
        β > 0: how little is to change; of errors averaged over dimensions.

    Returns ``loss``, ``accuracy`` (the share of pairs with m > 0, where m = 0 is half a pair) and the mean
    ``margin`` m.
    """
    better, worse = errors - reference
    margin = -beta * (better - worse)
    accuracy = (margin.detach().sign().mean() + 1) / 2
    return {"loss": -F.logsigmoid(margin).mean(), "accuracy": accuracy, "margin": margin.detach().mean()}
