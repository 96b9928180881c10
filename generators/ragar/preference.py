"""Preference learning instead of a policy gradient: LoRA of the UNet by Diffusion-DPO.

Wallace et al. 2023.
"""

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
    """The looks of the evidence, drawn by a UNet that learned which images of a look a judge prefers.

    Its ``sampler`` is modified and must not be shared.
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
        """Train on pairs that ``judge`` orders; without it the UNet is unchanged.

        The policy is never trained.
        """
        super().train(episodes, None, watching, run)
        if judge is not None:
            denoising = self.denoising()
            pairs = PairDrawing(self, denoising, judge, episodes)(self.config.pairs, run)
            self.learn(pairs, denoising, run)
            forget_pairs(run)

    def denoising(self) -> Denoising:
        """Return the model that draws pairs and learns from them: its own copy, still frozen."""
        sampler = frozen_sampler(self.evidence.family.to_learn(), self.evidence.device)
        sampler.steps = self.config.reward_steps or sampler.steps
        return Denoising(sampler, self.evidence.catalog)

    def learn(self, pairs: Pairs, denoising: Denoising, run: TrainingContext) -> None:
        """Train on these pairs, and draw with the result from now on."""
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
        """Return the policy's weights, and LoRA of the UNet if it was trained."""
        return {**super().weights(), **{f"{PREFIX}{name}": x for name, x in self._lora.items()}}

    def export(self, folder: Path) -> list[ExportedPart]:
        """Write also LoRA of the UNet, if it was trained, for `load_lora_weights`."""
        lora = [write_lora(self.sampler.pipeline.unet, folder)] if self._lora else []
        return [*lora, *super().export(folder)]

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Load what was learned. Raises DataError if it does not fit the models or the catalogue."""
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
    """Return squared errors (2, B) with LoRA and, without gradient, those without it; better images first.

    Of noise or velocity, as the model predicts, averaged over dimensions. Both images of a pair have the same
    timestep and noise.
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
    """Return −mean log σ(m) with m = −β·((e_w − e_w⁰) − (e_l − e_l⁰)) (Eq. 14; its T·ω(λ_t) are part of β).

    Parameters
    ----------
    errors, reference
        (2, B) ≥ 0: squared errors e of the trained model and e⁰ of the reference model, on the preferred
        images (w) and the others (l).
    beta
        β > 0: strength of the regularisation; for errors averaged over dimensions.

    Returns
    -------
    dict
        ``loss``, ``accuracy`` (share of pairs with m > 0, m = 0 counts half) and mean ``margin`` m.
    """
    better, worse = errors - reference
    margin = -beta * (better - worse)
    accuracy = (margin.detach().sign().mean() + 1) / 2
    return {"loss": -F.logsigmoid(margin).mean(), "accuracy": accuracy, "margin": margin.detach().mean()}
