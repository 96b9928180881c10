"""The reflection (Eq. 11–15): images of noisy preferences, and a ranker's rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from recsim_gen.judging.reward import policy_loss, rewards

if TYPE_CHECKING:
    from generators.ragar.config import RAGARConfig
    from generators.ragar.judge import PictureJudge
    from generators.sampler import Sampler
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


class Reflected(NamedTuple):
    """Result for B episodes and T images: ``action`` a_t (B, T, K, d), ``reward`` R_t (B, T).

    ``gain`` (B,): ρ_gen − ρ_ref of the image without noise; ``pixels`` (B, T + 1, 3, H, W), that of E_key
    last.
    """

    action: Tensor
    reward: Tensor
    gain: Tensor
    pixels: Tensor


class Reflection:
    """Draws with a frozen diffusion model and evaluates by a ranker; nothing here has a gradient."""

    def __init__(self, sampler: Sampler, judge: PictureJudge, config: RAGARConfig) -> None:
        self.sampler, self.judge, self.config = sampler, judge, config

    def __call__(
        self, episodes: Sequence[Episode], mean: Tensor, key: Tensor, rng: Rng, *, noises: int | None = None
    ) -> Reflected:
        """Draw a_t = P_gen + σ·ε_t for t = 0…r with ε_0 = 0, and E_key, all from one initial latent.

        ``mean`` (B, K, d) is the learned part of P_gen, ``key`` (B, T, d) the rest of it, which is the same
        for all t: noise on parts without parameters would only add variance to the reward. The literal
        reading adds noise there, too.
        """
        action = self.actions(episodes, mean.detach(), key, rng, noises)
        b, t = action.shape[:2]
        states = action if self.config.reading == "literal" else with_key(action, key)
        streams = [rng.for_("latents", e.id) for e in episodes]
        generated = self._draw(states.flatten(0, 1), [stream for stream in streams for _ in range(t)])
        pixels = torch.cat([generated.unflatten(0, (b, t)), self._draw(key, streams)[:, None]], dim=1)
        reward, gain = self.rewards(self.judge, episodes, pixels)
        return Reflected(action, reward, gain, pixels)

    def rewards(
        self, judge: PictureJudge, episodes: Sequence[Episode], pixels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return R (B, T) of images (B, T + 1, 3, H, W), that of E_key last.

        And ρ − ρ_ref (B,) of the first.
        """
        judged = judge.bounds if self.config.reward == "gain" else judge.scores
        score, original = judged(episodes, pixels)
        return reward_of(score, original, self.config), score[:, 0] - original

    def _draw(self, states: Tensor, streams: Sequence[Rng]) -> Tensor:
        return self.sampler.draw(states.to(self.sampler.pipeline.unet.dtype), streams)

    def actions(
        self, episodes: Sequence[Episode], mean: Tensor, key: Tensor, rng: Rng, noises: int | None = None
    ) -> Tensor:
        """Return a_t (B, r + 1, K, d), the first without noise (Eq. 11–12)."""
        mean = torch.cat([mean, key], 1) if self.config.reading == "literal" else mean
        count = self.config.noises if noises is None else noises
        shape = (count, *mean.shape[1:])
        drawn = [torch.randn(shape, generator=rng.for_("noise", e.id).torch()) for e in episodes]
        noise = torch.cat([torch.zeros(len(mean), 1, *shape[1:]), torch.stack(drawn)], dim=1).to(mean)
        return mean[:, None] + self.config.sigma * noise

    def loss(self, reflected: Reflected, mean: Tensor, key: Tensor) -> Tensor:
        """Return L_rank (Eq. 15); only here ``mean`` carries a gradient."""
        config = self.config
        whole = torch.cat([mean, key], 1) if config.reading == "literal" else mean
        return policy_loss(
            reflected.action,
            whole,
            config.sigma,
            reflected.reward.to(mean),
            reading=config.reading,
            standardise=config.standardise and config.reading == "corrected",
        )


def with_key(action: Tensor, key: Tensor) -> Tensor:
    """Return P_gen (…, K + T, d): learned states (B, …, K, d), then E_key (B, T, d)."""
    shape = (*action.shape[:-2], *key.shape[1:])
    between = key.reshape(len(key), *[1] * (action.ndim - 3), *key.shape[1:])
    return torch.cat([action, between.expand(shape)], dim=-2)


def reward_of(score: Tensor, original: Tensor, config: RAGARConfig) -> Tensor:
    """Return R (B, T) given scores (B, T + 1), that of the keywords' image last, and of the own image (B,).

    ``rank``: Eq. 14, compared with both. ``gain``: score minus that of the own image.
    """
    if config.reward == "gain":
        return score[:, :-1] - original[:, None]
    contrasts = torch.stack([original, score[:, -1]], 1)
    return rewards(score[:, :-1], contrasts, margin=config.margin, reading=config.reading)
