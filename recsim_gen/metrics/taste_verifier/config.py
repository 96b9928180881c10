"""Settings of the taste verifier, separate from modules that take seconds to import."""

from __future__ import annotations

from dataclasses import dataclass

from recsim_gen.core.errors import SettingError


@dataclass(frozen=True)
class VerifierConfig:
    """Settings of the training. The defaults are those of the benchmark's verifier."""

    threshold: float = 4.0  # smallest rating that counts as liked
    epochs: int = 20  # passes over the ratings; the one with the best AUC on the valid part is kept
    lr: float = 1e-4  # learning rate of AdamW
    weight_decay: float = 1e-5  # weight decay of AdamW
    batch: int = 256  # ratings per step
    train: float = 0.70  # share of the ratings, sampled one by one; what train and valid leave is test
    valid: float = 0.15  # share of the ratings that selects the epoch

    def __post_init__(self) -> None:
        if self.train <= 0 or self.valid < 0 or self.train + self.valid >= 1:
            raise SettingError(
                f"train and valid must leave a rest for test, got {self.train} and {self.valid}"
            )
        if self.epochs < 1 or self.batch < 2 or self.lr <= 0:
            raise SettingError(f"epochs >= 1, batch >= 2 and lr > 0 are wanted, got {self}")
