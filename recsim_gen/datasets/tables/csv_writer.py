"""Writes any dataset as ``items.csv``, ``interactions.csv`` and ``images/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsim_gen.core.store import atomic
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.image_files import write_images
from recsim_gen.datasets.writing import plain_ids

_ID = r"[^\s/\\.]([^/\\]*[^\s/\\])?"  # valid as a file name, and unchanged when blanks are stripped


def write_csv(dataset: Dataset, folder: str | Path) -> tuple[str, ...]:
    """Write a folder that ``csv:DIR`` reads, atomically; return sentences about what it cannot represent.

    Users are written (not people), and the split of their choices.
    """
    import pandas as pd

    catalog, chosen = dataset.catalog, dataset.interactions
    ids, notes = plain_ids(catalog.item_ids, _ID)
    with atomic(folder) as place:
        place.mkdir(parents=True)
        written = write_images(catalog.images, dict(enumerate(ids.tolist())), place / "images")
        items: dict[str, Any] = {
            "id": ids,
            "title": catalog.titles,
            "caption": catalog.captions,
            "category": catalog.categories,
        }
        if written:
            items["image"] = [f"images/{written[k]}" if k in written else "" for k in range(len(ids))]
        pd.DataFrame(items).to_csv(place / "items.csv", index=False)
        log = {
            "user": chosen.user_ids[chosen.user],
            "item": ids[chosen.item],
            "time": chosen.time,
            "weight": chosen.weight,
            "split": chosen.split,
        }
        pd.DataFrame(log).to_csv(place / "interactions.csv", index=False)
    return notes
