"""Our action: selects a list of keywords, by a policy with exact probabilities (`keyword_policy`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from generators.denoising import draw_rows
from generators.ragar.action import Proposal
from generators.ragar.keyword_policy import KeywordPolicy, divergence, draw_actions, keyword_loss
from generators.ragar.reflection import reward_of
from generators.ragar.training import schedule_of
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.training_loop import fit, forget

if TYPE_CHECKING:
    from generators.ragar.action import TrainingContext
    from generators.ragar.config import RAGARConfig
    from generators.ragar.evidence import Evidence
    from generators.ragar.judge import PictureJudge
    from generators.ragar.looks import Looks
    from recsim_gen.core.protocols import ExportedPart
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode

PART, PREFIX = "ragar-keywords", "policy."


class KeywordAction:
    """A policy over the candidate looks of each episode."""

    def __init__(self, evidence: Evidence, sampler: Sampler, config: RAGARConfig) -> None:
        self.evidence, self.sampler, self.config = evidence, sampler, config
        self._policy: KeywordPolicy | None = None

    def train(
        self,
        episodes: Sequence[Episode],
        judge: PictureJudge | None,
        watching: PictureJudge | None,
        run: TrainingContext,
    ) -> None:
        """Train with ``judge``'s scores of images of the looks.

        Without it the policy keeps its initial state.
        """
        config, policy = self.config, self._new_policy()
        self._policy = policy
        if judge is None:
            return
        sampler = Sampler(self.evidence.family, self.evidence.device)
        sampler.steps = config.reward_steps or sampler.steps

        def loss(step: Rng) -> dict[str, Tensor]:
            """Return L_rank plus the weighted divergence from the initial policy, on a batch of episodes."""
            rows = dict.fromkeys(draw_rows(len(episodes), config.batch_size, step.numpy()))
            batch = [episodes[row] for row in rows]
            looks = self.evidence.looks(batch)
            choices = policy.choices(looks)
            log_policy = policy(choices)
            streams = [step.for_("action", e.id).torch() for e in batch]
            actions = draw_actions(log_policy, config.samples, streams)
            reward = self._rewards(sampler, judge, batch, looks, actions, step)
            far = divergence(log_policy, choices.start)
            loss = keyword_loss(log_policy, actions, reward, standardise=config.standardise)
            return {
                "loss": config.rank_weight * loss + config.anchor * far,
                "reward": reward.mean(),
                "divergence": far.detach(),
            }

        fit(
            PART,
            policy,
            loss,
            schedule_of(config),
            output=run.folder,
            data=run.data,
            rng=run.rng.for_("policy"),
            tracker=run.tracker,
        )
        forget(run.folder, PART)

    def _rewards(
        self,
        sampler: Sampler,
        judge: PictureJudge,
        episodes: Sequence[Episode],
        looks: Sequence[Looks],
        actions: Tensor,
        step: Rng,
    ) -> Tensor:
        """Return R (B, T) of the images of these actions, all of an episode from one latent.

        In the comparison of Eq. 14, the first look takes the role of the keywords' image.
        """
        shown = [[*chosen, 0] for chosen in actions.tolist()]
        texts = [
            self.evidence.text(episode.reference, one.keywords[c])
            for episode, one, chosen in zip(episodes, looks, shown, strict=True)
            for c in chosen
        ]
        count = actions.shape[1] + 1
        streams = [step.for_("latents", e.id) for e in episodes for _ in range(count)]
        states = sampler.states(texts).to(sampler.pipeline.unet.dtype)
        pixels = sampler.draw(states, streams).unflatten(0, (len(episodes), count))
        judged = judge.bounds if self.config.reward == "gain" else judge.scores
        return reward_of(*judged(episodes, pixels), self.config).float()

    def proposals(self, episodes: Sequence[Episode], count: int) -> list[list[Proposal]]:
        """Return the looks that the policy prefers, repeated if there are fewer than ``count``."""
        proposals = []
        for episode, looks in zip(episodes, self.ranked(episodes), strict=True):
            texts = [self.evidence.text(episode.reference, words) for words in looks.keywords[:count]]
            drawn_from = zip(self.sampler.states(texts), texts, looks.gain, strict=False)
            proposed = [Proposal(Conditions(x, text=text), float(gain)) for x, text, gain in drawn_from]
            proposals.append([proposed[c % len(proposed)] for c in range(count)])
        return proposals

    def ranked(self, episodes: Sequence[Episode]) -> list[Looks]:
        """Return the looks of each episode, sorted by the policy's preference."""
        looks = self.evidence.looks(episodes)
        order = torch.argsort(self.log_policy(looks), dim=1, descending=True, stable=True).tolist()
        return [one.take(row[: len(one.keywords)]) for one, row in zip(looks, order, strict=True)]

    @torch.no_grad()
    def log_policy(self, looks: Sequence[Looks]) -> Tensor:
        """Return log π (B, C) of the looks of B episodes, −∞ as padding."""
        if self._policy is None:
            raise SettingError("ragar is neither fitted nor loaded: call fit or load first")
        log_policy: Tensor = self._policy(self._policy.choices(looks))
        return log_policy

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the policy."""
        assert self._policy is not None
        return {f"{PREFIX}{n}": x.detach().cpu().clone() for n, x in self._policy.state_dict().items()}

    def export(self, folder: Path) -> list[ExportedPart]:
        """Write the policy as tensors, and the words of its offsets."""
        from recsim_gen.core.protocols import ExportedPart
        from recsim_gen.core.store import write_json
        from recsim_gen.models.exporting import write_tensors

        assert self._policy is not None
        what = (
            "the policy over keywords: `weight` of gain, doubt and number of changes, and an `offset` for "
            "each word: `generators.ragar.keyword_policy.KeywordPolicy`"
        )
        words = [*self._policy.column]
        write_json(folder / "keywords.json", words)
        policy = write_tensors(folder / "keyword_policy.safetensors", self._policy.state_dict(), what)
        return [policy, ExportedPart("keywords.json", f"the {len(words):,} words, in the order of `offset`")]

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Load what was learned. Raises DataError if it does not fit the catalogue."""
        policy = self._new_policy()
        expected = {f"{PREFIX}{n}": tuple(x.shape) for n, x in policy.state_dict().items()}
        got = {name: tuple(x.shape) for name, x in weights.items()}
        if expected != got:
            raise DataError(f"weights of a policy over keywords are wanted, {expected}, got {got}")
        policy.load_state_dict({name.removeprefix(PREFIX): x for name, x in weights.items()})
        self._policy = policy

    def _new_policy(self) -> KeywordPolicy:
        vocabulary = sorted({word for words in self.evidence.keywords for word in words})
        return KeywordPolicy(vocabulary, temperature=self.config.temperature, caution=self.config.caution)
