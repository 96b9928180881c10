"""Verdicts on a ranker as a judge of images, stored beside its checkpoint, and whether it may judge.

Two guards decide: `modality_use`, whether it uses images at all, and `swap_test`, whether it distinguishes
better from worse images of the same item. A judge must not have failed the first; a judge that gives a reward
must not have failed either.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.results import plain
from recsim_gen.core.store import write_json
from recsim_gen.judging import modality_use, swap_test
from recsim_gen.judging.guards import Guard

FILE = "guards.json"
PASSED = ("uses", "sees")
QUESTIONS = {
    modality_use.NAME: "whether it looks at images",
    swap_test.NAME: "whether it tells better from worse among pictures of one item",
}
JUDGES = (modality_use.NAME,)
REWARDS = (modality_use.NAME, swap_test.NAME)


def store(folder: str | Path, *guards: Guard) -> Path:
    """Write guards beside a checkpoint's ``config.json``, with its fingerprint; other guards are kept."""
    path = Path(folder) / FILE
    ranker = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["fingerprint"]
    kept = {**stored(folder), **{guard.name: guard for guard in guards}}
    about = {name: dataclasses.asdict(guard) for name, guard in kept.items()}
    write_json(path, plain({"ranker": ranker, "guards": about}))
    return path


def stored(folder: str | Path) -> dict[str, Guard]:
    """Return {name: guard} of this checkpoint; empty if the stored ones belong to other weights."""
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        ranker = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
        guards = about["guards"] if about["ranker"] == ranker["fingerprint"] else {}
        return {name: Guard(**guard) for name, guard in guards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "Delete it, or train with --for-reward again"
        raise DataError(f"no readable guards: {error!r}", file=path, remedy=remedy) from error


def gate(
    guards: Mapping[str, Guard], name: str, *, asked: tuple[str, ...] = JUDGES, force: bool = False
) -> list[str]:
    """Raise SettingError if the ranker failed one of the guards ``asked``, unless ``force``.

    Returns remarks for readers of its numbers: guards that were not run, or that the ranker was forced.
    """
    notes = []
    for question in asked:
        guard = guards.get(question)
        if guard is None:
            notes.append(f"{name}: {QUESTIONS[question]} was not tested (train_ranker --for-reward)")
        elif guard.verdict not in PASSED:
            if not force:
                raise SettingError(
                    f"{name} must not judge images: {guard.sentence}. Train another, or insist with --force"
                )
            notes.append(f"{name}: judges by force, although {guard.sentence}")
    return notes
