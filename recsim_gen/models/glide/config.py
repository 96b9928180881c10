"""Sizes and sampling of GLIDE's two nets; the defaults are those of the published ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import with_settings
from recsim_gen.core.store import write_json

FILE = "config.json"
TIMESTEPS = 1000  # diffusion steps that both nets are trained on


def spaced(count: int, first: int = 0, last: int = TIMESTEPS - 1) -> tuple[int, ...]:
    """Return ``count`` timesteps from ``last`` down to ``first``, evenly (the original's respacing)."""
    stride = (last - first) / max(1, count - 1)
    return tuple(first + round(k * stride) for k in reversed(range(count)))


_FAST = (*spaced(2, 600, 799), *spaced(3, 400, 599), *spaced(10, 200, 399), *spaced(10, 0, 199))
FAST27 = (997, 800, *_FAST)
"""``fast27`` of the original: most steps are at low noise; it begins at 997, not at 999."""


@dataclass(frozen=True)
class NetConfig:
    """One net: a text transformer and the UNet conditioned on it."""

    image_size: int = 64  # side of its images in pixels
    in_channels: int = 3  # 6: the noisy image and an enlarged smaller one
    out_channels: int = 6  # 6: noise and variance (within its range)
    channels: tuple[int, ...] = (192, 384, 576, 768)  # channels per level; each level halves the side
    blocks: int = 3  # residual blocks per level on the way down
    attended: int = 3  # number of deepest levels with attention to the text
    head_channels: int = 64  # channels per attention head of the UNet
    groups: int = 32  # groups of its norms
    text_length: int = 128  # tokens; longer texts are cut
    text_width: int = 512
    text_layers: int = 16
    text_heads: int = 8
    vocabulary: int = 50_257
    noise: Literal["squaredcos_cap_v2", "linear"] = (
        "squaredcos_cap_v2"  # noise schedule, by its name in diffusers
    )
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    timesteps: tuple[int, ...] = spaced(100)  # sampling timesteps (of 1,000), descending

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip((TIMESTEPS, *self.timesteps), (*self.timesteps, -1), strict=True))
        if not (self.timesteps and falling):
            raise SettingError(
                f"timesteps must fall from below {TIMESTEPS} to 0 or more, got {self.timesteps}"
            )
        if not 0 <= self.attended <= len(self.channels):
            raise SettingError(f"attended must be in [0, {len(self.channels)}], got {self.attended}")


UPSAMPLER = NetConfig(
    image_size=256,
    in_channels=6,
    channels=(192, 192, 384, 384, 768, 768),
    blocks=2,
    noise="linear",
    timesteps=FAST27,
)
"""Configuration of the published upsampler."""


@dataclass(frozen=True)
class GlideConfig:
    """Configuration of both nets."""

    base: NetConfig = field(default_factory=NetConfig)
    upsampler: NetConfig = UPSAMPLER
    guidance: float = 3.0  # classifier-free guidance of the base; the upsampler has none
    first_noise: float = 0.997  # standard deviation of the upsampler's initial noise
    residual: float = (
        0.0  # 0: the upsampler denoises the image; r: r times its difference to the enlarged one
    )

    def __post_init__(self) -> None:
        got = self.base.in_channels, self.base.out_channels, self.upsampler.in_channels
        if got != (3, 6, 6):
            text = "a base of 3 channels that predicts 6, and an upsampler that sees 6, are wanted"
            raise SettingError(f"{text}, got {got[0]}, {got[1]} and {got[2]}")

    def write(self, folder: Path) -> None:
        """Write ``config.json``."""
        write_json(folder / FILE, {"class": "Glide", **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> GlideConfig:
        """Read what ``write`` wrote. Raises DataError for anything else."""
        try:
            settings = json.loads((folder / FILE).read_text(encoding="utf-8"))
            if settings.pop("class") != "Glide":
                raise ValueError("it is of another class")
            nets = {
                name: with_settings(NetConfig, _tuples(settings.pop(name))) for name in ("base", "upsampler")
            }
            config: GlideConfig = with_settings(cls, {**settings, **nets})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SettingError) as error:
            remedy = "Train it again: python -m recsim_gen.pretrain --part glide"
            raise DataError(
                f"must be the config of a GLIDE, got {error}", file=folder / FILE, remedy=remedy
            ) from error
        return config


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(x) if isinstance(x, list) else x for name, x in settings.items()}
