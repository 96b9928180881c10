"""The ranker that gives the reward: brought along, or trained here and tested for looking at images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.artifacts.checkpoints import judge_names, load_ranker, ranker_name
from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.judging.modality_use import gate, modality_use, store, stored

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Catalog, Interactions

SPEC = "micro"


def check_rankers(*folders: Path | None, force: bool) -> list[str]:
    """What the readers of these checkpoints' numbers must know; reads no data.

    Raises DataError for a folder that is no checkpoint, SettingError for a ranker of which training found
    that it does not use images, unless ``force``, and for one folder twice.
    """
    given = [folder for folder in folders if folder is not None]
    notes = []
    for name, folder in zip(judge_names(given) if given else (), given, strict=True):
        ranker_name(folder)
        notes.append(gate(stored(folder), name, force=force))
    return [note for note in notes if note]


def reward_ranker(
    folder: Path | None,
    output: Path,
    catalog: Catalog,
    interactions: Interactions,
    results: Results,
    *,
    seed: int = 0,
    force: bool = False,
    device: str = "cpu",
) -> Ranker:
    """The ranker in ``folder``; None: MICRO, trained here or found, and kept in ``output`` with a verdict.

    The verdict is of `modality_use` with seeds ``seed`` and ``seed + 1``: four trainings, found again
    too. Raises SettingError where MICRO does not look at images, unless ``force``.
    """
    if folder is not None:
        ranker = load_ranker(folder, catalog, interactions, device=device)
    else:

        def train(items: Catalog, seed: int) -> Ranker:
            return trained_ranker(SPEC, None, items, interactions, seed=seed, device=device)

        ranker, name = train(catalog, seed), f"{SPEC}-seed{seed}"
        guard = stored(output) if _is_kept(output, ranker) else None
        if guard is None:
            guard = modality_use(train, catalog, interactions, (seed, seed + 1))
            ranker.save(output)
            store(output, guard)
        results.verdict(f"{guard.name} ({name})", f"{guard.verdict}: {guard.sentence}")
        if told := gate(guard, name, force=force):
            results.note(told)
    results.fingerprints["ranker"] = ranker.fingerprint
    return ranker


def _is_kept(folder: Path, ranker: Ranker) -> bool:
    """Whether this very ranker lies there."""
    import json

    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("fingerprint") == ranker.fingerprint
