"""Data that a served ranker needs to be loaded elsewhere: item ids, features, and interactions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from recsim_gen.core.types import Catalog, Interactions

FEATURES = "features."  # prefix of the modality's name
CHOICES = ("user", "item", "time", "weight", "split", "user_ids")


def write_served_data(file: Path, catalog: Catalog, interactions: Interactions) -> None:
    """Write the data to one ``.npz`` file without pickles; texts and images are left out."""
    np.savez_compressed(
        file,
        item_ids=catalog.item_ids,
        categories=catalog.categories,
        encoders=np.array(json.dumps(dict(catalog.encoders))),
        **{FEATURES + modality: x for modality, x in catalog.features.items()},
        **{name: getattr(interactions, name) for name in CHOICES},
    )


def read_served_data(file: Path) -> tuple[Catalog, Interactions]:
    """Read what `write_served_data` wrote; the catalogue has no texts and images."""
    with np.load(file, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    ids = arrays["item_ids"]
    blank = np.full(len(ids), "")
    features = {n.removeprefix(FEATURES): x for n, x in arrays.items() if n.startswith(FEATURES)}
    encoders = json.loads(str(arrays["encoders"]))
    catalog = Catalog(ids, blank, blank, arrays["categories"], None, features, encoders)
    return catalog, Interactions(**{name: arrays[name] for name in CHOICES}, n_items=len(ids))
