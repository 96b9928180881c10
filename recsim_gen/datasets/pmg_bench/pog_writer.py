"""Writes any dataset as PMG-Bench's ``pog_dataset`` folder."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np

from recsim_gen.core.progress import bar
from recsim_gen.core.store import atomic, write_json
from recsim_gen.core.types import Dataset, ImageReader
from recsim_gen.datasets.files.image_files import image_file
from recsim_gen.datasets.pmg_bench.pog import CAPTIONS, IMAGES, ITEMS, OUTFITS, USERS
from recsim_gen.datasets.writing import by_person, plain_ids

_WORD = r"\w[\w.-]{0,99}"  # ids that can be in a list and in a file name


def write_pmg_pog(dataset: Dataset, folder: str | Path) -> tuple[str, ...]:
    """Write the three tables, ``captions.json`` and ``images.tar.gz``, atomically.

    A person becomes a user, whose ``item_history`` is oldest first. Returns sentences about what the layout
    cannot represent: times, weights and possibly ids; users that a person was cut into are restored with the
    same ``sequence_length``. There are no outfits. Read back by ``pog.load``, everything else is equal.
    """
    import pandas as pd

    catalog, chosen = dataset.catalog, dataset.interactions
    ids, renamed = plain_ids(catalog.item_ids, _WORD)
    order, people, left = by_person(dataset)
    history = pd.Series(ids[chosen.item[order]]).groupby(people, sort=False).agg(";".join)
    users = {"user_id": history.index, "item_history": history.to_numpy(), "outfit_history": ""}
    items = {"item_id": ids, "cate_id": catalog.categories, "title": catalog.titles, "desc": ""}
    with atomic(folder) as place:
        place.mkdir(parents=True)
        pd.DataFrame(items).to_csv(place / ITEMS, index=False)
        pd.DataFrame(users).to_csv(place / USERS, index=False)
        pd.DataFrame({"outfit_id": [], "item_ids": []}).to_csv(place / OUTFITS, index=False)
        write_json(place / CAPTIONS, dict(zip(ids.tolist(), catalog.captions.tolist(), strict=True)))
        if catalog.images is not None:
            _pack(catalog.images, ids, place / IMAGES[0])
    lost = ["times are places in a history"] if not _are_places(dataset) else []
    if (chosen.weight != 1).any():
        lost.append("weights are all 1")
    return (*renamed, *left, *lost)


def _are_places(dataset: Dataset) -> bool:
    chosen = dataset.interactions
    order = np.lexsort((chosen.time, chosen.user))
    counts = np.bincount(chosen.user, minlength=chosen.n_users)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return bool((chosen.time[order] == place).all())


def _pack(images: ImageReader, ids: np.ndarray, file: Path) -> None:
    """Pack images as ``images/<id>.<suffix>`` without time stamps: equal content gives equal bytes."""
    rows = np.flatnonzero(images.present).tolist()
    with (
        file.open("wb") as target,
        gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for row in bar(rows, "packing pictures", unit="pictures"):
            suffix, data = image_file(images, row)
            member = tarfile.TarInfo(f"images/{ids[row]}{suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
