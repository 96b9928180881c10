"""How people choose from a list: multinomial logit with a weight of places, and not to choose as an option.

A person sees L things with utilities V_1…V_L, at place k with the weight k^−η, and takes

    argmax over k of  V_k − η ln k + ε_k,   and nothing where  V_0 + ε_0  is greater still,

ε independent standard Gumbel, so that

    P(k) = k^−η exp(V_k) / (exp(V_0) + Σ_j j^−η exp(V_j)).

(McFadden 1974; places as in Joachims et al. 2017, "Unbiased learning-to-rank with biased feedback", Sec. 5.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_gen.core.errors import SettingError

NOTHING = -1
"""Place of who chose nothing."""


@dataclass(frozen=True)
class ChoiceModel:
    """``outside`` V_0, worth of not choosing; ``attention`` η ≥ 0, where 0 makes all places alike."""

    outside: float
    attention: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.outside) and np.isfinite(self.attention) and self.attention >= 0):
            raise SettingError(
                f"outside must be a number, attention 0 or more: got {self.outside} and {self.attention}"
            )

    def values(self, utility: np.ndarray) -> np.ndarray:
        """(P, L + 1) of the module's formula without ε: the places, then not to choose."""
        places = utility - self.attention * np.log(np.arange(1, utility.shape[1] + 1))
        return np.concatenate([places, np.full((len(utility), 1), self.outside)], axis=1)

    def probabilities(self, utility: np.ndarray) -> np.ndarray:
        """(P, L + 1) P(k) for lists of ``utility`` (P, L); the last column is not to choose."""
        value = self.values(utility)
        weight = np.exp(value - value.max(1, keepdims=True))
        shares: np.ndarray = weight / weight.sum(1, keepdims=True)
        return shares

    def choose(self, utility: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(P,) place 0…L−1 that is taken from lists of ``utility`` (P, L), or `NOTHING`.

        ``noise`` (P, L + 1) standard Gumbel, the last column of not choosing.
        """
        taken = (self.values(utility) + noise).argmax(1)
        return np.where(taken == utility.shape[1], NOTHING, taken)

    def returned(self, delivered: np.ndarray, noise: np.ndarray, outside_noise: np.ndarray) -> np.ndarray:
        """(B,) bool: what came, worth ``delivered`` (B,), goes back.

        The rule: by the same chance as when it was chosen, they would rather have chosen nothing,
        V(delivered) + ε_k < V_0 + ε_0. Who gets what they saw sends nothing back.
        """
        back: np.ndarray = delivered + noise < self.outside + outside_noise
        return back
