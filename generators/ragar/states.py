"""The paper's action: P_gen of the network, with noise during training (Eq. 7–12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from generators.ragar.action import Proposal
from generators.ragar.network import Network
from generators.ragar.reflection import Reflection, with_key
from generators.ragar.training import Training, key_states, train
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    from generators.ragar.action import TrainingContext
    from generators.ragar.config import RAGARConfig
    from generators.ragar.evidence import Evidence
    from generators.ragar.judge import PictureJudge
    from recsim_gen.core.protocols import ExportedPart
    from recsim_gen.core.types import Episode


class StatesAction:
    """A network whose output replaces the states of the diffusion model's text encoder."""

    def __init__(self, evidence: Evidence, sampler: Sampler, config: RAGARConfig) -> None:
        self.evidence, self.sampler, self.config = evidence, sampler, config
        self._network: Network | None = None
        self._weights: dict[str, torch.Tensor] = {}

    def train(
        self,
        episodes: Sequence[Episode],
        judge: PictureJudge | None,
        watching: PictureJudge | None,
        run: TrainingContext,
    ) -> None:
        """Run the warm start, then train with rewards of ``judge``; ``watching`` decides when to stop."""
        training = self.training(judge, run.rng)
        train(training, episodes, watching, run)
        self._network = training.network.eval()
        self._weights = {n: x.detach().cpu().clone() for n, x in training.network.trainable().items()}

    def training(self, judge: PictureJudge | None, rng: Rng) -> Training:
        """Return the computation of a training step."""
        sampler = Sampler(self.evidence.family, self.evidence.device)
        sampler.steps = self.config.reward_steps or sampler.steps
        reflection = None if judge is None else Reflection(sampler, judge, self.config)
        return Training(self._new_network(rng), self.evidence, sampler, reflection, self.config, rng)

    def proposals(self, episodes: Sequence[Episode], count: int) -> list[list[Proposal]]:
        """Return P_gen of each episode, ``count`` times: candidates differ only by their noise.

        Raises DataError for a history shorter than k, or a reference without text.
        """
        return [[Proposal(self._conditions(episode), 0.0)] * count for episode in episodes]

    def _conditions(self, episode: Episode) -> Conditions:
        network = self._network
        if network is None:
            raise SettingError("ragar is neither fitted nor loaded: call fit or load first")
        inputs = self.evidence.of([episode])
        with torch.no_grad():
            key, mask = key_states(self.sampler, inputs.keys)
            learned = network(inputs.prompts, key, mask).learned
            states = with_key(learned.float(), key).to(self.sampler.pipeline.unet.dtype)
        return Conditions(states[0], text=inputs.keys[0])

    def weights(self) -> dict[str, torch.Tensor]:
        """Return LoRA, image tokens, mapper, fusion, and W if it is learned."""
        return dict(self._weights)

    def export(self, folder: Path) -> list[ExportedPart]:
        """Write LoRA and image tokens in PEFT's format; mapper, fusion and W as tensors."""
        from recsim_gen.models.exporting import write_tensors

        assert self._network is not None
        rest = {name: x for name, x in self._weights.items() if not name.startswith("language.")}
        what = (
            "image tokens to states of the text encoder (`mapper`), set against the keywords (`fusion`): "
            "`generators.ragar.network.Network`"
        )
        lora = self._network.language.export(folder, self.evidence.family)
        return [lora, write_tensors(folder / "network.safetensors", rest, what)]

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what was learned. Raises DataError if it does not fit the models."""
        self._network = self._new_network(Rng(0)).eval()
        self._network.restore(weights)
        self._weights = dict(weights)

    def _new_network(self, rng: Rng) -> Network:
        pipeline, evidence = self.sampler.pipeline, self.evidence
        return Network(
            evidence.family.to_learn(),
            self.config,
            length=pipeline.tokenizer.model_max_length,
            width=self.sampler.width,
            visual=evidence.visual.shape[1] if self.config.calibrator_map == "learned" else 1,
            device=evidence.device,
            rng=rng.for_("network"),
        )
