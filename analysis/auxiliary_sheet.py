"""Contact sheet of replacing images, each with the original and the history of its user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.case_study import Case, Cell, case_study
from recsim_gen.experiments.case_studies import own_image

if TYPE_CHECKING:
    from recsim_gen.core.types import Dataset, Episode
    from recsim_gen.datasets.image_sets import ImageSet

SHOWN = 12
"""Images per sheet."""

LATEST = 10
"""History items per row."""


def replaced_sheet(
    drawn: ImageSet, episodes: Sequence[Episode], dataset: Dataset, generator: str, path: str | Path
) -> Path:
    """Write a PNG of the first of ``drawn``, one row each: history, original, image; return its path.

    ``episodes`` are those that images were drawn for; an image made for no user has no history.
    """
    histories = {(e.user, e.reference): e.history for e in episodes}
    catalog, cases = dataset.catalog, []
    for row, (user, item) in enumerate(zip(drawn.user.tolist(), drawn.item.tolist(), strict=True)):
        if row == SHOWN:
            break
        history = [(own_image(dataset, one), False) for one in histories.get((user, item), ())[-LATEST:]]
        person = f"{dataset.interactions.user_ids[user]}: " if user >= 0 else ""
        cells = [Cell(own_image(dataset, item)), Cell(drawn.reader.read(row))]
        cases.append(Case(f"{person}{catalog.titles[item] or catalog.item_ids[item]}", history, cells))
    return case_study(cases, ["original", generator], path)
