"""The reflection (Eq. 11–15): pictures of noisy preferences, and what a ranker says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.judging.reward import policy_loss, rewards

if TYPE_CHECKING:
    from PIL import Image

    from generators.ragar.config import RAGARConfig
    from generators.sampler import Sampler
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode

SAME = 1e-3  # largest difference, relative to the row's length, of a feature made again


class Reflected(NamedTuple):
    """Of B episodes and T pictures: ``action`` a_t (B, T, K, d), ``reward`` R_t (B, T).

    ``gain`` (B,): ρ_gen − ρ_ref of the picture without noise; ``pixels`` (B, T + 1, 3, H, W), the one of
    E_key last.
    """

    action: Tensor
    reward: Tensor
    gain: Tensor
    pixels: Tensor


class Reflection:
    """Draws with a frozen diffusion model and asks a ranker; nothing here has a gradient."""

    def __init__(
        self, sampler: Sampler, catalog: Catalog, ranker: Ranker, encoder: Any, config: RAGARConfig
    ) -> None:
        self.sampler, self.ranker, self.encoder, self.config = sampler, ranker, encoder, config
        check_encoder(catalog, encoder, config.encoder)

    def __call__(
        self, episodes: Sequence[Episode], mean: Tensor, key: Tensor, rng: Rng, *, noises: int | None = None
    ) -> Reflected:
        """Draw a_t = P_gen + σ·ε_t for t = 0…r with ε_0 = 0, and E_key, all from one initial latent.

        ``mean`` (B, K, d) is the learned part of P_gen, ``key`` (B, T, d) the rest of it, which is the
        same for all t: noise on what no parameter moves would only blur the reward. The literal reading
        has it there, too.
        """
        action = self.actions(episodes, mean.detach(), key, rng, noises)
        b, t = action.shape[:2]
        states = action if self.config.reading == "literal" else with_key(action, key)
        streams = [rng.for_("latents", e.id) for e in episodes]
        generated = self._draw(states.flatten(0, 1), [stream for stream in streams for _ in range(t)])
        pixels = torch.cat([generated.unflatten(0, (b, t)), self._draw(key, streams)[:, None]], dim=1)
        score, original = self.scores(self.ranker, episodes, pixels)
        reward = self.rewards(score, original)
        return Reflected(action, reward, score[:, 0] - original, pixels)

    def rewards(self, score: Tensor, original: Tensor) -> Tensor:
        """R (B, T) of scores (B, T + 1), the one of E_key last, and of the own picture (B,) (Eq. 14)."""
        contrasts = torch.stack([original, score[:, -1]], 1)
        return rewards(score[:, :-1], contrasts, margin=self.config.margin, reading=self.config.reading)

    def _draw(self, states: Tensor, streams: Sequence[Rng]) -> Tensor:
        return self.sampler.draw(states.to(self.sampler.pipeline.unet.dtype), streams)

    def actions(
        self, episodes: Sequence[Episode], mean: Tensor, key: Tensor, rng: Rng, noises: int | None = None
    ) -> Tensor:
        """a_t (B, r + 1, K, d), the first without noise (Eq. 11–12)."""
        mean = torch.cat([mean, key], 1) if self.config.reading == "literal" else mean
        count = self.config.noises if noises is None else noises
        shape = (count, *mean.shape[1:])
        drawn = [torch.randn(shape, generator=rng.for_("noise", e.id).torch()) for e in episodes]
        noise = torch.cat([torch.zeros(len(mean), 1, *shape[1:]), torch.stack(drawn)], dim=1).to(mean)
        return mean[:, None] + self.config.sigma * noise

    def loss(self, reflected: Reflected, mean: Tensor, key: Tensor) -> Tensor:
        """L_rank (Eq. 15); only here ``mean`` carries a gradient."""
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

    def scores(self, ranker: Ranker, episodes: Sequence[Episode], pixels: Tensor) -> tuple[Tensor, Tensor]:
        """ρ (B, T) of references with these pictures (B, T, 3, H, W), and with their own (B,) (Eq. 13)."""
        b, t = pixels.shape[:2]
        features = self.encoder.encode_images(pictures(pixels.flatten(0, 1)))
        users, items = (np.repeat([getattr(e, name) for e in episodes], t) for name in ("user", "reference"))
        answer = ranker.substitute(users, items, {"image": features}, scope=self.config.scope)
        score = torch.from_numpy(np.asarray(answer.score, dtype=np.float64)).reshape(b, t)
        original = torch.from_numpy(np.asarray(answer.original_score, dtype=np.float64)).reshape(b, t)[:, 0]
        return score, original


def with_key(action: Tensor, key: Tensor) -> Tensor:
    """P_gen (…, K + T, d): learned states (B, …, K, d), then E_key (B, T, d)."""
    shape = (*action.shape[:-2], *key.shape[1:])
    between = key.reshape(len(key), *[1] * (action.ndim - 3), *key.shape[1:])
    return torch.cat([action, between.expand(shape)], dim=-2)


def pictures(pixels: Tensor) -> list[Image.Image]:
    """Pictures of 8 bits, as they are written and judged, of (B, 3, H, W) in [0, 1]."""
    from PIL import Image

    levels = (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return [Image.fromarray(x) for x in levels]


def check_encoder(catalog: Catalog, encoder: Any, spec: str) -> None:
    """DataError unless ``encoder`` made the image features of the catalogue, by one of its pictures."""
    if "image" not in catalog.features:
        raise DataError(
            f"image features, which the ranker was trained on, are wanted; have {sorted(catalog.features)}",
            remedy="Encode the catalogue before",
        )
    if catalog.images is None or not catalog.images.present.any():
        raise DataError("pictures are wanted, the catalogue has none")
    if not hasattr(encoder, "encode_images"):
        raise SettingError(f"encoder: one of images is wanted, got {spec!r}")
    row = int(catalog.images.present.argmax())
    own = catalog.features["image"][row]
    again = np.asarray(encoder.encode_images([catalog.images.read(row)]))[0]
    alike = again.shape == own.shape and np.linalg.norm(again - own) <= SAME * np.linalg.norm(own)
    if not alike:
        raise DataError(
            f"the encoder {spec!r} does not give the picture of item {catalog.item_ids[row]!r} the feature "
            f"that the ranker knows ({len(again)} numbers made, {len(own)} known)",
            remedy="Set `encoder` to the one that made the ranker's image features",
        )
