"""Choice model: multinomial logit with position weights and the option of choosing nothing.

A person sees L items with utilities V_1…V_L, with the weight k^−η at place k, and takes

    argmax over k of  V_k − η ln k + ε_k,   or nothing if  V_0 + ε_0  is larger,

where ε is independent standard Gumbel, so that

    P(k) = k^−η exp(V_k) / (exp(V_0) + Σ_j j^−η exp(V_j)).

(McFadden 1974; positions as in Joachims et al. 2017, "Unbiased learning-to-rank with biased feedback", Sec.
5.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_gen.core.errors import SettingError

NOTHING = -1
"""Place that means nothing was chosen."""


@dataclass(frozen=True)
class ChoiceModel:
    """``outside`` V_0, utility of choosing nothing; ``attention`` η ≥ 0, with 0 all places are equal."""

    outside: float
    attention: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.outside) and np.isfinite(self.attention) and self.attention >= 0):
            raise SettingError(
                f"outside must be a number, attention 0 or more: got {self.outside} and {self.attention}"
            )

    def values(self, utility: np.ndarray) -> np.ndarray:
        """Return (P, L + 1) the module's formula without ε: the places, then choosing nothing."""
        places = utility - self.attention * np.log(np.arange(1, utility.shape[1] + 1))
        return np.concatenate([places, np.full((len(utility), 1), self.outside)], axis=1)

    def probabilities(self, utility: np.ndarray) -> np.ndarray:
        """Return (P, L + 1) P(k) for lists of ``utility`` (P, L); the last column is choosing nothing."""
        value = self.values(utility)
        weight = np.exp(value - value.max(1, keepdims=True))
        shares: np.ndarray = weight / weight.sum(1, keepdims=True)
        return shares

    def choose(self, utility: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return (P,) the place 0…L−1 chosen from lists of ``utility`` (P, L), or `NOTHING`.

        ``noise`` (P, L + 1) standard Gumbel, the last column for choosing nothing.
        """
        taken = (self.values(utility) + noise).argmax(1)
        return np.where(taken == utility.shape[1], NOTHING, taken)

    def returned(self, delivered: np.ndarray, noise: np.ndarray, outside_noise: np.ndarray) -> np.ndarray:
        """Return (B,) bool: whether the delivered item, of utility ``delivered`` (B,), is sent back.

        With the noise of the choice, the person would have preferred to choose nothing: V(delivered) + ε_k <
        V_0 + ε_0. If the item is as shown, it is never sent back.
        """
        back: np.ndarray = delivered + noise < self.outside + outside_noise
        return back
