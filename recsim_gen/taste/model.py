"""Taste of features in closed form: fitted to co-choices once, asked of any history and any features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Appraisal
from recsim_gen.taste.histories import Histories
from recsim_gen.taste.posterior import Posterior, posterior
from recsim_gen.taste.prior import prior_of
from recsim_gen.taste.whitening import Components


@dataclass(frozen=True, eq=False)
class TasteModel:
    """Features to whitened coordinates, and the prior of tastes there.

    Parameters
    ----------
    centre
        (C, D) mean features of each category.
    whitening
        (D, d) map of centred features to coordinates z, softly whitened, along which tastes are independent.
    strength, agreement, noise
        s (d,), K (C, C) and σ² (1,) of `posterior`.
    features, category
        z (n, d) and category (n,) of the items that histories hold.
    """

    centre: NDArray[Any]
    whitening: NDArray[Any]
    strength: NDArray[Any]
    agreement: NDArray[Any]
    noise: NDArray[Any]
    features: NDArray[Any]
    category: NDArray[Any]

    @classmethod
    def fit(
        cls,
        x: NDArray[Any],
        category: NDArray[Any],
        histories: Histories | Sequence[NDArray[Any]],
        *,
        width: int,
        noise: float,
        turned: bool = True,
    ) -> TasteModel:
        """Fit to ``histories`` of item rows: the prior by co-choices, coordinates by all items.

        ``x`` (n, D) features and ``category`` (n,) codes 0…C−1 of all items; ``width`` coordinates at
        most, of the directions that vary most; ``noise`` σ², in units of a coordinate's variance; ``turned``
        as of `prior.prior_of`. Raises DataError where nothing varies within categories.
        """
        return cls.of_components(Components.of(x, category, width), category, histories, noise, turned=turned)

    @classmethod
    def of_components(
        cls,
        x: Components,
        category: NDArray[Any],
        histories: Histories | Sequence[NDArray[Any]],
        noise: float,
        *,
        turned: bool = True,
    ) -> TasteModel:
        """As `fit`, of features by their components; those without taste along them are left out."""
        axes, z = x.whitened()
        agreement, turn, strength = prior_of(histories, z, category, turned=turned)
        some = np.flatnonzero(strength) if strength.any() else np.arange(1)
        turn, strength = turn[:, some], strength[some]
        return cls(x.centre, axes @ turn, strength, agreement, np.array([noise]), z @ turn, category)

    def coordinates(self, x: NDArray[Any], categories: NDArray[Any]) -> NDArray[Any]:
        """z (B, d) of features ``x`` (B, D) of things in ``categories`` (B,)."""
        z: NDArray[Any] = (x - self.centre[categories]) @ self.whitening
        return z

    def tastes(self, histories: Histories | Sequence[NDArray[Any]], categories: NDArray[Any]) -> Posterior:
        """Posterior of what B people with these histories of item rows like in ``categories`` (B, A)."""
        return posterior(
            histories,
            categories,
            features=self.features,
            category=self.category,
            agreement=self.agreement,
            strength=self.strength,
            noise=float(self.noise[0]),
        )

    def appraise(
        self, histories: Histories | Sequence[NDArray[Any]], categories: NDArray[Any], x: NDArray[Any]
    ) -> Appraisal:
        """What B people would think of things in ``categories`` (B,) with features ``x`` (B, D).

        ``mean`` tᵀz of the posterior mean taste t, relative to the category's average; ``sd`` of tᵀz.
        """
        taste, z = self.tastes(histories, categories[:, None]), self.coordinates(x, categories)
        return Appraisal((taste.mean[:, 0] * z).sum(1), np.sqrt((taste.variance[:, 0] * z**2).sum(1)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that it is, by name; `of_arrays` takes it back."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TasteModel:
        """The model that gave these. Raises DataError where one lacks."""
        names = [field.name for field in fields(cls)]
        if lacking := [name for name in names if name not in arrays]:
            raise DataError(f"arrays of a taste model are wanted, {', '.join(lacking)} lack")
        return cls(**{name: np.asarray(arrays[name]) for name in names})
