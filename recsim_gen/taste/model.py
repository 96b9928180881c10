"""Closed-form taste model: fitted to co-choices once, applicable to any history and any features."""

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
    """Maps features to whitened coordinates, with a prior of tastes in these.

    Parameters
    ----------
    centre
        (C, D) mean features of each category.
    whitening
        (D, d) map of centred features to coordinates z, softly whitened, in which tastes are independent.
    strength, agreement, noise
        s (d,), K (C, C) and σ² (1,) of `posterior`.
    features, category
        z (n, d) and category (n,) of the items that occur in histories.
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
        """Fit the prior to co-choices in ``histories``, and the coordinates to all items.

        Parameters
        ----------
        x
            (n, D) features of all items.
        category
            (n,) codes 0…C−1.
        histories
            Item rows of each person.
        width
            Maximal number of coordinates, taken from the directions with the largest variance.
        noise
            σ², in units of a coordinate's variance.
        turned
            As for `prior.prior_of`.

        Raises
        ------
        DataError
            If features do not vary within categories.
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
        """Fit as `fit`, given principal components; components without taste are dropped."""
        axes, z = x.whitened()
        agreement, turn, strength = prior_of(histories, z, category, turned=turned)
        some = np.flatnonzero(strength) if strength.any() else np.arange(1)
        turn, strength = turn[:, some], strength[some]
        return cls(x.centre, axes @ turn, strength, agreement, np.array([noise]), z @ turn, category)

    def coordinates(self, x: NDArray[Any], categories: NDArray[Any]) -> NDArray[Any]:
        """Return z (B, d) of features ``x`` (B, D) of items in ``categories`` (B,)."""
        z: NDArray[Any] = (x - self.centre[categories]) @ self.whitening
        return z

    def tastes(self, histories: Histories | Sequence[NDArray[Any]], categories: NDArray[Any]) -> Posterior:
        """Return the posterior of the tastes of B people with these histories in ``categories`` (B, A)."""
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
        """Predict what B people think of items in ``categories`` (B,) with features ``x`` (B, D).

        ``mean`` is tᵀz with the posterior mean taste t, relative to the category's average; ``sd`` that of
        tᵀz.
        """
        taste, z = self.tastes(histories, categories[:, None]), self.coordinates(x, categories)
        return Appraisal((taste.mean[:, 0] * z).sum(1), np.sqrt((taste.variance[:, 0] * z**2).sum(1)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all parameters by name; `of_arrays` is the inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TasteModel:
        """Return the model with these arrays. Raises DataError if one is missing."""
        names = [field.name for field in fields(cls)]
        if lacking := [name for name in names if name not in arrays]:
            raise DataError(f"arrays of a taste model are missing: {', '.join(lacking)}")
        return cls(**{name: np.asarray(arrays[name]) for name in names})
