"""The judge that gives the reward: read from a folder, or trained here and tested for looking at images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.judging import modality_use, swap_test
from recsim_gen.judging.judges import Judge, loaded_judge
from recsim_gen.judging.verdicts import REWARDS, gate, store, stored

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.specs import JudgeSpec
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.judging.guards import Guard


def reward_judge(
    spec: JudgeSpec,
    output: Path,
    dataset: Dataset,
    catalog: Catalog,
    results: Results,
    *,
    force: bool = False,
    device: str = "cpu",
) -> Judge:
    """Return the judge ``spec``; one that is trained here is kept in ``output`` with its verdicts.

    `modality_use` takes four trainings, with the judge's seed and the next one, loaded if they were done
    before; `swap_test` asks about validation choices. Raises SettingError where the ranker fails either,
    unless ``force``.
    """
    interactions = dataset.interactions
    if spec.folder is not None:
        judge = loaded_judge(spec.folder, catalog, interactions, device=device)
        guards = stored(spec.folder)
    else:
        trained_spec = spec.ranker

        def train(items: Catalog, seed: int) -> Ranker:
            return trained_ranker(trained_spec, items, interactions, seed=seed, device=device)

        judge = Judge(trained_spec.name, spec.seed, train(catalog, spec.seed))
        guards = stored(output) if _is_kept(output, judge.ranker) else {}
        if modality_use.NAME not in guards:
            use = modality_use.modality_use(train, catalog, interactions, (spec.seed, spec.seed + 1))
            judge.ranker.save(output)
            store(output, use)
            guards[use.name] = use
    if swap_test.NAME not in guards:
        guards[swap_test.NAME] = validation_swaps(judge, dataset, catalog)
        if spec.folder is None:
            store(output, guards[swap_test.NAME])
    for guard in guards.values():
        results.verdict(f"{guard.name} ({judge.label})", f"{guard.verdict}: {guard.sentence}")
    for note in gate(guards, judge.label, asked=REWARDS, force=force):
        results.note(note)
    results.fingerprints["ranker"] = judge.ranker.fingerprint
    return judge


def validation_swaps(judge: Judge, dataset: Dataset, catalog: Catalog) -> Guard:
    """The swap test of a judge on validation choices: test choices are for reports alone."""
    swaps = swap_test.swaps_of(dataset, catalog, Rng(0), split="valid")
    return swap_test.swap_test([judge.ranker], swaps, catalog)


def _is_kept(folder: Path, ranker: Ranker) -> bool:
    """Whether this very ranker lies there."""
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("fingerprint") == ranker.fingerprint
