"""Writes any dataset as the unified JSON of the Personalized Multimodal Generation Benchmark.

A user with an episode becomes a record of ``test.json``, one whose last choice is valid a record of
``val.json``, any other of ``train.json`` (the last choice is the target). Items that were never chosen do not
appear: the format cannot represent them.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from recsim_gen.core.store import atomic
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.image_files import write_images
from recsim_gen.datasets.splits import TEST, TRAIN, VALID
from recsim_gen.datasets.unified.loader import FILES
from recsim_gen.datasets.unified.styles import StyledDataset

IMAGES = "images"
STYLES = "user_styles.json"


def write_unified(dataset: Dataset, folder: str | Path) -> None:
    """Write ``train.json``, ``val.json``, ``test.json``, ``images/`` and, if known, styles, atomically.

    A user with several test items gives a record for each. Read back by ``unified.load``, episodes have the
    same people, histories and references, and choices the same weights, and the same splits if the valid item
    is the last of its history, as with leave-last-out. Users get new names, times are places in the sequence.
    """
    used = np.unique(dataset.interactions.item).tolist()
    with atomic(folder) as place:
        (place / IMAGES).mkdir(parents=True)
        names = {
            row: f"{IMAGES}/{row:06d}" for row in used
        }  # ids may contain characters that file names must not
        images = write_images(dataset.catalog.images, names, place)
        records = _Writer(dataset, images)
        for file, split in FILES.items():
            _write(place / file, records.of(split))
        styles = dataset.styles if isinstance(dataset, StyledDataset) else {}
        if styles:
            _write(place / STYLES, [{"user": person, "style": words} for person, words in styles.items()])


def _write(file: Path, content: list[dict[str, Any]]) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


class _Writer:
    """Records of a dataset, user by user."""

    def __init__(self, dataset: Dataset, images: dict[int, str]) -> None:
        self.dataset, self.images = dataset, images
        chosen = dataset.interactions
        order = np.lexsort((chosen.time, chosen.user))
        bounds = np.searchsorted(chosen.user[order], np.arange(chosen.n_users + 1))
        self.rows = [order[low:high] for low, high in pairwise(bounds)]
        self.aesthetic = dataset.aesthetic if isinstance(dataset, StyledDataset) else None
        self.position: dict[str, int] = {}

    def of(self, split: str) -> list[dict[str, Any]]:
        """Return the records of the file of ``split``."""
        chosen, made = self.dataset.interactions, []
        for user, rows in enumerate(self.rows):
            splits = chosen.split[rows]
            tests = rows[splits == TEST]
            known = rows[splits != TEST]
            if len(tests):
                targets = tests.tolist() if split == TEST and len(known) else []
            elif split == (VALID if len(known) > 1 and splits[-1] == VALID else TRAIN):
                targets, known = ([int(known[-1])], known[:-1]) if len(known) > 1 else ([None], known)
            else:
                targets = []
            made += [self._record(user, known.tolist(), target) for target in targets]
        return made

    def _record(self, user: int, history: list[int], target: int | None) -> dict[str, Any]:
        item_ids, chosen = self.dataset.catalog.item_ids, self.dataset.interactions
        person = str(self.dataset.people[user])
        position = self.position.get(person, 0)
        self.position[person] = position + len(history) + 1
        return {
            "user_id": person,
            "history_item_ids": [str(item_ids[chosen.item[row]]) for row in history],
            "history_items_info": [self._info(row) for row in history],
            "target_item_id": None if target is None else str(item_ids[chosen.item[target]]),
            "target_item_info": None if target is None else self._info(target),
            "num_interactions": len(history),
            "window_position": position,
        }

    def _info(self, row: int) -> dict[str, Any]:
        catalog, chosen = self.dataset.catalog, self.dataset.interactions
        item = int(chosen.item[row])
        info: dict[str, Any] = {
            "item_id": str(catalog.item_ids[item]),
            "caption": str(catalog.captions[item]),
            "image_path": self.images.get(item),
            "score": float(chosen.weight[row]),
        }
        if self.aesthetic is not None and np.isfinite(self.aesthetic[item]):
            info["aesthetic_score"] = float(self.aesthetic[item])
        return info
