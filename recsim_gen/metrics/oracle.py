"""Utility of an image for the simulated users of Boutique, by their true preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import MissingDependency
from recsim_gen.metrics.looks import LookReader
from recsim_gen.metrics.recipes import OURS, Recipe, Spec, chosen

if TYPE_CHECKING:
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows


class OracleUtility:
    """Utility of the look that the family's verifier reads from the image; see `datasets.boutique`."""

    needs = ("user",)
    unit = "utility (choice noise has sd 1.28)"
    range = (-np.inf, np.inf)
    higher_is_better: bool | None = True

    def __init__(self, spec: Spec, resources: Resources) -> None:
        from recsim_gen.datasets.boutique.world import Boutique

        self.name = str(spec)
        chosen({OURS: None}, spec)
        if not isinstance(resources.dataset, Boutique):
            raise MissingDependency("needs the users' true tastes, which --data boutique alone has")
        self._boutique = resources.dataset
        self._reader = LookReader(resources)
        self.recipe = Recipe(
            spec.recipe,
            backbone=self._reader.backbone,
            weights=self._reader.weights,
            resize="to 64 x 64, bicubic",
            input_range="[0, 1]",
            note="utility of category, colours and pattern as read from the pixels",
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) utilities."""
        return self._boutique.utility(rows.get("user"), self._reader.codes(rows))
