"""Training of RAGAR: a warm start like GILL's training of its mapper, then the joint reflection (Eq. 17)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call

from generators.denoising import draw_rows
from generators.ragar.evidence import Evidence, Inputs
from generators.ragar.fusion import spread
from generators.ragar.losses import calibrator_loss, divergence, ridge, semantic_loss, total
from generators.ragar.network import Network, States
from generators.ragar.reflection import Reflection
from generators.ragar.samples import sheet
from generators.ragar.watch import Watch
from recsim_gen.core.processes import Team
from recsim_gen.core.progress import say
from recsim_gen.core.store import atomic, cache_dir
from recsim_gen.core.training_loop import Schedule, fit, forget

if TYPE_CHECKING:
    from generators.ragar.action import TrainingContext
    from generators.ragar.config import RAGARConfig
    from generators.ragar.judge import PictureJudge
    from generators.sampler import Sampler
    from recsim_gen.core.protocols import TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode

WARM_START, PART = "ragar-warm-start", "ragar"
DISTRACTING = 5  # most items before the one that the mapper should represent


class Training:
    """Computation of a step in both stages; the network is trained, everything else is frozen."""

    def __init__(
        self,
        network: Network,
        evidence: Evidence,
        sampler: Sampler,
        reflection: Reflection | None,
        config: RAGARConfig,
        rng: Rng,
    ) -> None:
        self.network, self.evidence, self.sampler = network, evidence, sampler
        self.reflection, self.config, self.rng = reflection, config, rng
        self._start: dict[str, Tensor] = {}

    def warm_start(self, step: Rng) -> dict[str, Tensor]:
        """Return the MSE between E_m of an item's keywords and the text encoder's states, as in GILL."""
        random, n = step.numpy(), len(self.evidence.catalog)
        rows = draw_rows(n, self.config.batch_size, random)
        others = [draw_rows(n, int(random.integers(1, DISTRACTING + 1)), random) for _ in rows]
        joined = self.states(self.evidence.of_items(rows, others))[0].joined
        return {"loss": F.mse_loss(joined, spread(self.text_states(rows), joined.shape[1] - 1))}

    def joint(self, episodes: Sequence[Episode], step: Rng) -> dict[str, Tensor]:
        """Return the losses of these episodes (Eq. 17), and the ranker's evaluation of their images."""
        config = self.config
        inputs = self.evidence.of(episodes)
        states, key = self.states(inputs)
        parts: dict[str, Tensor] = {}
        measured: dict[str, Tensor] = {}
        if config.k and config.calibrator_weight:
            p_gen = torch.cat([states.learned, key], 1)
            parts["calibrator"] = calibrator_loss(p_gen, self.visual_as_text(inputs))
        if config.semantic_weight:
            text = self.text_states([e.reference for e in episodes]).mean(1)
            parts["semantic"] = semantic_loss(states.joined[:, 1:], text)
        if self.reflection is not None:
            reflected = self.reflection(episodes, states.learned, key, step)
            parts["rank"] = self.reflection.loss(reflected, states.learned, key)
            measured = {"reward": reflected.reward[:, 0].mean(), "gain": reflected.gain.mean()}
        if config.anchor:
            parts["anchor"] = divergence(states.learned, self._at_start(inputs), config.sigma)
        if not parts:
            parts["semantic"] = 0 * states.learned.sum()
        return {"loss": total(parts, config), **parts, **measured}

    def states(self, inputs: Inputs) -> tuple[States, Tensor]:
        """Return the network's output, and E_key (B, T, d), in float32."""
        key, mask = self.key(inputs.keys)
        return self.network(inputs.prompts, key, mask), key

    def keep_start(self) -> None:
        """Store the current network as the initial policy, if there is an anchor."""
        if self.config.anchor:
            self._start = {name: x.detach().clone() for name, x in self.network.trainable().items()}

    @torch.no_grad()
    def _at_start(self, inputs: Inputs) -> Tensor:
        """Return the learned part of P_gen (B, K, d) under the initial policy."""
        key, mask = self.key(inputs.keys)
        start: States = functional_call(self.network, self._start, (inputs.prompts, key, mask))
        return start.learned

    def key(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return E_key (B, T, d) float32 of texts, and their mask of words (B, T)."""
        return key_states(self.sampler, texts)

    def text_states(self, rows: Sequence[int]) -> Tensor:
        """Return (B, T, d) states of the items' texts."""
        return self.sampler.states([self.evidence.spoken(row) for row in rows]).float()

    def visual_as_text(self, inputs: Inputs) -> Tensor:
        """Return W·P_ret (B, d) (Eq. 10)."""
        assert inputs.preference is not None
        preference = torch.from_numpy(inputs.preference).to(self.sampler.device)
        if self.network.visual is not None:
            mapped: Tensor = self.network.visual(preference)
            return mapped
        w, b = self._ridge
        return preference @ w.T + b

    @cached_property
    def _ridge(self) -> tuple[Tensor, Tensor]:
        n = len(self.evidence.catalog)
        rows = [list(range(start, min(start + 64, n))) for start in range(0, n, 64)]
        text = torch.cat([self.text_states(part).mean(1) for part in rows]).cpu().numpy()
        w, b = (torch.from_numpy(x).to(self.sampler.device) for x in ridge(self.evidence.visual, text))
        return w, b


def key_states(sampler: Sampler, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return E_key (B, T, d) float32 of the diffusion model's text encoder, and the mask of words (B, T)."""
    return sampler.states(texts).float(), sampler.worded(texts)


def train(
    training: Training, episodes: Sequence[Episode], judge: PictureJudge | None, run: TrainingContext
) -> str | None:
    """Run both stages, resuming interrupted ones; return why it stopped early, or None.

    ``judge`` is held out.
    """
    config, network, work = training.config, training.network, run.folder
    learned = nn.ParameterList(training.network.trainable().values())
    if config.warm_start:
        _warmed(training, learned, work, run.start)
    training.keep_start()

    def joint(step: Rng) -> dict[str, Tensor]:
        """Return the joint losses on a random batch of episodes."""
        drawn = draw_rows(len(episodes), config.batch_size, step.numpy())
        return training.joint([episodes[row] for row in dict.fromkeys(drawn)], step)

    evaluation = Evaluation(training, episodes, judge, work / "evaluations", run.tracker)
    watch = Watch(
        work / "evaluations",
        evaluation,
        network.trainable,
        every=config.evaluate_every,
        patience=config.patience,
        steps=config.steps,
    )
    if config.steps:
        fit(
            PART,
            learned,
            joint,
            schedule_of(config),
            output=work,
            data=run.data,
            rng=run.rng.for_("joint"),
            tracker=run.tracker,
            watch=watch if training.reflection else None,
        )
    if watch.stopped:
        network.restore(watch.best())
    for part in (WARM_START, PART):
        forget(work, part)
    shutil.rmtree(work / "evaluations", ignore_errors=True)
    return watch.stopped


def schedule_of(config: RAGARConfig) -> Schedule:
    """Return learning rates and steps of the training with a reward."""
    return Schedule(
        config.steps,
        config.lr,
        warmup=min(10, config.steps // 10),
        weight_decay=config.weight_decay,
        log_every=10,
        accumulate=config.accumulate,
    )


def _warmed(training: Training, learned: nn.Module, work: Path, key: str) -> None:
    """Load the network after the warm start, or run it.

    Cached, since trainings that differ otherwise share it.
    """
    config, network = training.config, training.network
    file = cache_dir() / "warm-starts" / f"{key}.safetensors"
    team = Team()
    if team.agreed(file.exists):
        say(f"ragar: warm start found in {file}")
        network.restore(load_file(file))
        return
    schedule = Schedule(
        config.warm_start,
        config.warm_start_lr,
        warmup=min(20, config.warm_start // 10),
        weight_decay=0.0,
        accumulate=config.accumulate,
    )
    fit(
        WARM_START,
        learned,
        training.warm_start,
        schedule,
        output=work,
        data=key,
        rng=training.rng.for_("warm"),
    )
    if team.is_main_process:
        with atomic(file) as temporary:
            save_file({n: x.detach().cpu().contiguous() for n, x in network.trainable().items()}, temporary)


class Evaluation:
    """Evaluation on fixed training episodes, drawn without noise from fixed latents."""

    def __init__(
        self,
        training: Training,
        episodes: Sequence[Episode],
        judge: PictureJudge | None,
        folder: Path,
        tracker: TrainingTracker | None,
    ) -> None:
        self.training, self.judge, self.folder, self.tracker = training, judge, folder, tracker
        random = training.rng.for_("evaluation").numpy()
        order = random.permutation(len(episodes))[: training.config.evaluation_episodes]
        self.episodes = [episodes[row] for row in order.tolist()]

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, float]:
        """Return ``reward``, ``gain`` ρ_gen − ρ_ref, ``judge_reward``, and ``distance`` from the start.

        ``distance``: ‖P_gen − P_gen⁰‖²/(2σ²d), which for the policies N(P_gen, σ²) is the KL divergence per
        dimension.
        """
        training, rng = self.training, self.training.rng.for_("evaluation")
        states, key = training.states(training.evidence.of(self.episodes))
        assert training.reflection is not None
        seen = training.reflection(self.episodes, states.learned, key, rng, noises=0)
        numbers = {
            "evaluated_reward": float(seen.reward.mean()),
            "evaluated_gain": float(seen.gain.mean()),
            "distance": self._distance(states.learned),
        }
        if self.judge is not None:
            reward, gain = training.reflection.rewards(self.judge, self.episodes, seen.pixels)
            numbers["judge_reward"] = float(reward.mean())
            numbers["judge_gain"] = float(gain.mean())
        if self.tracker is not None:
            run = self.tracker.child(PART)
            run.log_epoch(step, numbers)
            with sheet(training.evidence.catalog, self.episodes, seen.pixels, step) as path:
                run.log_file(path, "samples")
        return {"reward": numbers["evaluated_reward"], **numbers}

    def _distance(self, learned: Tensor) -> float:
        file = self.folder / "start.safetensors"
        if not file.exists():
            with atomic(file) as temporary:
                save_file({"learned": learned.cpu().contiguous()}, temporary)
        start = load_file(file)["learned"].to(learned)
        return float(divergence(learned, start, self.training.config.sigma))
