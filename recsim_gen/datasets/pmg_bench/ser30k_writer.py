"""Writes any dataset as PMG-Bench's ``ser30k`` folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import atomic, write_json
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.files.image_files import write_images
from recsim_gen.datasets.files.images import SUFFIXES

_PLAIN = " ()-_.,'&!+@="  # characters kept in file names besides letters and digits


def write_pmg_ser30k(dataset: Dataset, folder: str | Path) -> tuple[str, ...]:
    """Write ``images/<topic>/<file>``, ``captions.json`` and ``annotations/``, atomically.

    A category becomes a topic; an id of the form ``<category>/<file>`` is kept, any other becomes
    ``<category>/<id>.<suffix>``. Emotions are unknown. Returns sentences about what the layout cannot
    represent, above all people and their choices. Read back by ``ser30k.load``, items, captions, topics and
    images are equal, and the simulated users are the same for the same stickers.
    """
    catalog = dataset.catalog
    names = _names(catalog)
    with atomic(folder) as place:
        place.mkdir(parents=True)
        stems = {row: f"images/{topic}/{Path(file).stem}" for row, (topic, file) in enumerate(names)}
        written = write_images(catalog.images, stems, place)
        stickers = [(topic, Path(written.get(row, file)).name) for row, (topic, file) in enumerate(names)]
        ids = [f"{topic}/{file}" for topic, file in stickers]
        if len(set(ids)) < len(ids):
            again = next(item for item in ids if ids.count(item) > 1)
            raise DataError(f"two items would both be {again!r}", remedy="Rename one of the two")
        write_json(place / "captions.json", dict(zip(ids, catalog.captions.tolist(), strict=True)))
        entries = [{"topic": topic, "file_name": file, "anno": None, "text": ""} for topic, file in stickers]
        write_json(place / "annotations" / "image-level" / "train.json", {"annotations": entries})
    lost = [] if ids == catalog.item_ids.tolist() else ["items are called <topic>/<file>"]
    if (catalog.titles != catalog.item_ids).any():
        lost.append("titles are left out")
    return (*lost, "choices are left out: users of this layout are simulated")


def _names(catalog: Catalog) -> list[tuple[str, str]]:
    """Return the (topic, file) of each item, both valid file names."""
    topics = {topic: _plain(topic or "no topic") for topic in np.unique(catalog.categories).tolist()}
    names = []
    for item, category in zip(catalog.item_ids.tolist(), catalog.categories.tolist(), strict=True):
        file = item.removeprefix(f"{category}/")
        if Path(file).suffix.lower() not in SUFFIXES:
            file += ".png"
        names.append((topics[category], _plain(file)))
    return names


def _plain(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in _PLAIN else quote(c, safe="") for c in name)
    return plain.replace(".", "%2E", 1) if plain.startswith(".") else plain
