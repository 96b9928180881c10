"""The policy over looks (`action: keywords`): which list of keywords to draw, trained by a judge's rewards.

For an episode's C looks (`looks.Looks`) the initial policy is π₀(c) ∝ exp((gain_c − caution·sd_c)/τ). The
learned parameters are few and shared by all people: weights of gain, uncertainty and number of changes, and
an offset for each word, since some words are drawn better than others. log π is exact, so Eq. 15 needs no
noise on latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from generators.ragar.looks import Looks
from recsim_gen.judging.reward import advantages

FACTS = 3  # gain, sd, number of changed places


class Choices(NamedTuple):
    """Looks of B episodes, padded to C: ``start`` log π₀ (B, C), −∞ for padding.

    ``facts`` (B, C, 3); ``words`` (B, C, W) number of occurrences of each word in a look.
    """

    start: Tensor
    facts: Tensor
    words: Tensor


class KeywordPolicy(nn.Module):
    """π(c) ∝ π₀(c)·exp(facts_c·weight + words_c·offset); initially π₀.

    Parameters
    ----------
    vocabulary
        Words that have an offset.
    temperature
        τ > 0 of the initial policy, in units of gain.
    caution
        Standard deviations of gain that the initial policy subtracts.
    """

    def __init__(self, vocabulary: Sequence[str], *, temperature: float, caution: float) -> None:
        super().__init__()
        self.column = {word: k for k, word in enumerate(vocabulary)}
        self.temperature, self.caution = temperature, caution
        self.weight = nn.Parameter(torch.zeros(FACTS))
        self.offset = nn.Parameter(torch.zeros(len(vocabulary)))

    def choices(self, looks: Sequence[Looks]) -> Choices:
        """Return the looks of B episodes as tensors."""
        most = max(len(one.keywords) for one in looks)
        start = np.full((len(looks), most), -np.inf)
        facts = np.zeros((len(looks), most, FACTS))
        words = np.zeros((len(looks), most, len(self.column)))
        for b, one in enumerate(looks):
            count = len(one.keywords)
            start[b, :count] = (one.gain - self.caution * one.sd) / self.temperature
            facts[b, :count] = np.stack([one.gain, one.sd, one.changed], 1)
            for c, keywords in enumerate(one.keywords):
                for word in keywords:
                    words[b, c, self.column[word]] += 1
        tensors = (torch.from_numpy(x).float().to(self.offset.device) for x in (start, facts, words))
        first, *rest = tensors
        return Choices(first.log_softmax(1), *rest)

    def forward(self, choices: Choices) -> Tensor:
        """Return log π (B, C)."""
        moved = choices.facts @ self.weight + choices.words @ self.offset
        return (choices.start + moved).log_softmax(1)


def draw_actions(log_policy: Tensor, count: int, generators: Sequence[torch.Generator]) -> Tensor:
    """Return (B, count) looks sampled from π, each episode with its own generator."""
    rows = zip(log_policy.detach().exp().cpu(), generators, strict=True)
    drawn = [torch.multinomial(p, count, replacement=True, generator=generator) for p, generator in rows]
    return torch.stack(drawn)


def keyword_loss(log_policy: Tensor, actions: Tensor, reward: Tensor, *, standardise: bool = False) -> Tensor:
    """Return −mean_t log π(a_t)·A_t (Eq. 15), A_t from `judging.reward.advantages`.

    ``log_policy`` (B, C); ``actions`` and ``reward`` (B, T), T ≥ 2.
    """
    chosen = log_policy.gather(1, actions.to(log_policy.device))
    return -(chosen * advantages(reward, standardise=standardise).to(chosen)).mean()


def divergence(log_policy: Tensor, log_start: Tensor) -> Tensor:
    """Return the mean KL(π ‖ π₀) ≥ 0 of the episodes, in nats."""
    ratio = torch.where(log_start.isinf(), torch.zeros_like(log_policy), log_policy - log_start)
    return (log_policy.exp() * ratio).sum(1).mean()
