"""Taste of features in closed form: fitted to co-choices once, asked of any history and any features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Appraisal
from recsim_gen.taste.posterior import Posterior, posterior
from recsim_gen.taste.prior import prior_of

SMALLEST = 1e-5  # singular values below this share of the largest are rounding


@dataclass(frozen=True, eq=False)
class TasteModel:
    """Features to whitened coordinates, and the prior of tastes there.

    Parameters
    ----------
    centre
        (C, D) mean features of each category.
    whitening
        (D, d) map of centred features to coordinates z of unit variance, along which tastes are independent.
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
        histories: Sequence[NDArray[Any]],
        *,
        width: int,
        noise: float,
    ) -> TasteModel:
        """Fit to ``histories`` of item rows: the prior by co-choices, coordinates by all items.

        ``x`` (n, D) features and ``category`` (n,) codes 0…C−1 of all items; ``width`` coordinates at
        most, those that vary most; ``noise`` σ², in units of a coordinate's variance. O(n·D²) and
        O(people·C²·width). Raises DataError where nothing varies within categories.
        """
        count = int(category.max()) + 1
        size = np.bincount(category, minlength=count)
        total = np.zeros((count, x.shape[1]))
        np.add.at(total, category, x)
        centre = total / np.maximum(size, 1)[:, None]
        apart = x - centre[category]
        values, vectors = np.linalg.eigh(apart.T @ apart / len(x))
        values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
        real = values > SMALLEST**2 * max(float(values.max(initial=0)), 1e-300)
        if not real.any() or values.max() <= 0:
            raise DataError("features that differ within a category are wanted, all are equal")
        whitening = vectors[:, real] / np.sqrt(values[real])
        z = apart @ whitening
        agreement, strength = prior_of(histories, z, category)
        return cls(centre, whitening, strength, agreement, np.array([noise]), z, category)

    def coordinates(self, x: NDArray[Any], categories: NDArray[Any]) -> NDArray[Any]:
        """z (B, d) of features ``x`` (B, D) of things in ``categories`` (B,)."""
        z: NDArray[Any] = (x - self.centre[categories]) @ self.whitening
        return z

    def tastes(self, histories: Sequence[NDArray[Any]], categories: NDArray[Any]) -> Posterior:
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
        self, histories: Sequence[NDArray[Any]], categories: NDArray[Any], x: NDArray[Any]
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
