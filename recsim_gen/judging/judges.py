"""Judges: trained rankers with the names that results use, trained here or loaded from a folder.

A judge that gives a reward must have passed two guards (`verdicts`): it uses images, and it recognises taste
in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from recsim_gen.artifacts.checkpoints import Origin, keep_ranker, load_ranker, origin_of, ranker_name
from recsim_gen.artifacts.trained_rankers import kept_ranker, train_missing, trained_ranker
from recsim_gen.artifacts.training_records import tell_again
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import RANKER_CONFIGS, RANKERS, resolve
from recsim_gen.encoders.features import encode
from recsim_gen.judging import modality_use, swap_test
from recsim_gen.judging.queries import MODALITY
from recsim_gen.judging.verdicts import JUDGES, REWARDS, gate, store, stored

if TYPE_CHECKING:
    from pathlib import Path

    from recsim_gen.core.protocols import Ranker, TrainingRun
    from recsim_gen.core.results import Results
    from recsim_gen.core.specs import JudgeSpec
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.judging.guards import Guard


TRAININGS = 4  # trainings with and without images to test whether a ranker uses them; fewer cannot decide


@dataclass(frozen=True)
class Judge:
    """A trained ranker that judges images.

    Parameters
    ----------
    name
        Common name of the seeds of one kind of judge: ``micro``, ``taste@boutique-clip``. Their ΔR is
        averaged per query.
    seed
        Seed of the training; None if unknown.
    ranker
        The trained ranker.
    catalog
        The items with the features that the ranker was trained on; images are encoded in the same way.
    kept
        Cache folder of a ranker trained here, with the curves of its training; None for a checkpoint.
    """

    name: str
    seed: int | None
    ranker: Ranker
    catalog: Catalog = field(repr=False)
    kept: Path | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Name in tables: ``micro-seed0``, or the name alone without a seed."""
        return self.name if self.seed is None else f"{self.name}-seed{self.seed}"


def judge_labels(judges: Sequence[JudgeSpec]) -> list[str]:
    """Return a label for each judge: its name, or its folder with as many parents as make labels unique.

    Raises SettingError if a judge is given twice.
    """
    parts = [(spec.name,) if spec.folder is None else spec.folder.resolve().parts for spec in judges]
    deepest = max(map(len, parts), default=1)
    for depth in range(1, 1 + deepest):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    twice = next(label for label in labels if labels.count(label) > 1)
    raise SettingError(f"each of --judges must be given once, got {twice} twice")


def check_judges(judges: Sequence[JudgeSpec], *, rewarding: Collection[str] = (), force: bool) -> list[str]:
    """Check the judges without reading data; return remarks for readers of their numbers.

    Parameters
    ----------
    judges
        The judges.
    rewarding
        Labels of the judges that give a reward.
    force
        Accept rankers that failed a guard.

    Returns
    -------
    list of str
        Remarks. What was not tested is noted by `open_judges`.

    Raises
    ------
    DataError
        If a folder is not a checkpoint.
    SettingError
        If a ranker or setting is unknown, a judge is given twice, or, unless ``force``, a ranker is known not
        to use images, or gives a reward and is known to be blind to taste in images.
    """
    notes: list[str] = []
    for label, spec in zip(judge_labels(judges), judges, strict=True):
        if spec.folder is None:
            spec.check()
        else:
            ranker_name(spec.folder)
            rewards = label in rewarding
            remarks = gate(stored(spec.folder), label, asked=REWARDS if rewards else JUDGES, force=force)
            notes += [] if rewards else remarks
    return notes


def open_judges(
    judges: Sequence[JudgeSpec],
    dataset: Dataset,
    catalog: Catalog,
    *,
    rewarding: Collection[str] = (),
    only_rewarding: bool = False,
    force: bool = False,
    device: str = "cpu",
    results: Results,
) -> list[Judge]:
    """Load the judges that are folders; train the others, or load them if trained before.

    Parameters
    ----------
    judges
        The judges.
    dataset
        Data set to train on.
    catalog
        The data set's items, encoded by the encoders of the command.
    rewarding
        Labels of the judges that give a reward; they must pass the guards of `reward_judge`.
    only_rewarding
        Leave out all other judges.
    force
        Accept rankers that failed a guard.
    device
        Device to run on.
    results
        Receives the fingerprint of each judge, and a note for each judge trained here that gives no reward:
        it is not tested whether it uses images (for folders, see `check_judges`).

    Returns
    -------
    list of Judge
        The judges in the given order.
    """
    opened = []
    for label, spec in zip(judge_labels(judges), judges, strict=True):
        if label in rewarding:
            opened.append(
                reward_judge(spec, dataset, catalog, results, label=label, force=force, device=device)
            )
        if label in rewarding or only_rewarding:
            continue
        judge = open_judge(spec, dataset, catalog, label=label, device=device)
        if spec.folder is None:
            for note in gate({}, label):
                results.note(note)
        results.fingerprints[f"ranker {judge.label}"] = judge.ranker.fingerprint
        opened.append(judge)
    return opened


def open_judge(
    spec: JudgeSpec, dataset: Dataset, catalog: Catalog, *, label: str | None = None, device: str = "cpu"
) -> Judge:
    """Load the judge that ``spec`` names, or train it; it uses its own encoders if it names any.

    Parameters
    ----------
    spec
        The judge.
    dataset
        Data set to train on.
    catalog
        The data set's items, encoded by the encoders of the command.
    label
        Label of a folder, which ends in the folder's name; default: the folder's name.
    device
        Device to run on.

    Returns
    -------
    Judge
        The trained judge.

    Raises
    ------
    DataError
        If the ranker was trained on other data.
    """
    interactions = dataset.interactions
    items = catalog_for(spec, dataset, catalog, device=device)
    if spec.folder is None:
        ranker = trained_ranker(spec.ranker, items, interactions, seed=spec.seed, device=device)
        encoder = f"@{spec.encoder}" if spec.encoder else ""
        kept = kept_ranker(spec.ranker, items, interactions, seed=spec.seed)
        return Judge(f"{spec.ranker.name}{encoder}", spec.seed, ranker, items, kept)
    ranker = load_ranker(spec.folder, items, interactions, device=device)
    label, origin = label or spec.folder.resolve().name, origin_of(spec.folder)
    if origin is None or not label.endswith(f"-seed{origin.seed}"):
        return Judge(label, None, ranker, items)
    return Judge(label.removesuffix(f"-seed{origin.seed}"), origin.seed, ranker, items)


def log_curves(judges: Iterable[Judge], run: TrainingRun) -> None:
    """Log the training curves of the judges that were trained here to ``run``, under each one's label."""
    for judge in {judge.label: judge for judge in judges}.values():
        if judge.kept is not None:
            tell_again(judge.kept, partial(_log_epoch, run, f"{judge.label}/"))


def _log_epoch(run: TrainingRun, start: str, epoch: int, numbers: Mapping[str, float], prefix: str) -> None:
    run.log_epoch(epoch, numbers, start + prefix)


def says_how_sure(spec: JudgeSpec) -> bool:
    """Return whether the ranker is a `ContentJudge`, by its config if possible; trains and loads nothing."""
    name = spec.ranker.parts[0] if spec.folder is None else ranker_name(spec.folder)
    if name in RANKER_CONFIGS:
        return getattr(resolve(name, RANKER_CONFIGS, "ranker"), "says_how_sure", False)
    return hasattr(resolve(name, RANKERS, "ranker"), "appraise")


def catalog_for(spec: JudgeSpec, dataset: Dataset, catalog: Catalog, *, device: str = "cpu") -> Catalog:
    """Return the items as the judge ``spec`` sees them: ``catalog``, unless it has its own encoders.

    Parameters
    ----------
    spec
        The judge.
    dataset
        The data, encoded again if the judge has its own encoders.
    catalog
        The encoded items.
    device
        Device of the encoders.
    """
    encoders = dict(catalog.encoders)
    if spec.folder is None:
        if spec.encoder is not None:
            encoders[MODALITY] = spec.encoder
    else:
        origin = origin_of(spec.folder)
        encoders = encoders if origin is None else dict(origin.encoders)
    return catalog if encoders == dict(catalog.encoders) else encode(dataset, encoders, device=device)


def reward_judge(
    spec: JudgeSpec,
    dataset: Dataset,
    catalog: Catalog,
    results: Results,
    *,
    label: str | None = None,
    keep: Path | None = None,
    force: bool = False,
    device: str = "cpu",
) -> Judge:
    """Return the judge if it passes both guards; the verdicts are added to the results.

    A ranker that is trained here is tested once, and the verdicts are cached with it: `modality_use` trains
    eight rankers, with the judge's seed and the next three (cached too), and `swap_test` uses validation
    choices. For a folder the stored verdicts are read.

    Parameters
    ----------
    spec, dataset, catalog
        As for `open_judges`.
    results
        Receives verdicts, notes and the judge's fingerprint.
    label
        Label of a folder in results; default: its name.
    keep
        Folder to save a ranker that is trained here to, with its verdicts, as train_ranker does.
    force
        Accept a ranker that failed a guard.
    device
        Device to run on.

    Returns
    -------
    Judge
        The judge.

    Raises
    ------
    SettingError
        If the ranker fails a guard, unless ``force``.
    """
    judge = open_judge(spec, dataset, catalog, label=label, device=device)
    if spec.folder is None:
        guards = _asked_once(spec, judge, dataset, device)
        if keep is not None:
            keep_ranker(judge.ranker, keep, Origin(spec.seed, judge.catalog.encoders))
            store(keep, *guards.values())
    else:
        guards = stored(spec.folder)
        if _without_swaps(guards):
            guards[swap_test.NAME] = validation_swaps(judge, dataset)
    for guard in guards.values():
        results.verdict(f"{guard.name} ({judge.label})", f"{guard.verdict}: {guard.sentence}")
    for note in gate(guards, judge.label, asked=REWARDS, force=force):
        results.note(note)
    results.fingerprints[f"ranker {judge.label}"] = judge.ranker.fingerprint
    return judge


def _asked_once(spec: JudgeSpec, judge: Judge, dataset: Dataset, device: str) -> dict[str, Guard]:
    """Return the guards of a judge that is trained here, cached with the ranker."""
    interactions = dataset.interactions
    folder = kept_ranker(spec.ranker, judge.catalog, interactions, seed=spec.seed)

    def train(items: Catalog, seed: int) -> Ranker:
        return trained_ranker(spec.ranker, items, interactions, seed=seed, device=device)

    use = stored(folder).get(modality_use.NAME)
    if use is None or use.numbers["seeds"] < TRAININGS:
        seeds = range(spec.seed, spec.seed + TRAININGS)
        jobs = modality_use.trainings(judge.catalog, seeds)
        train_missing(spec.ranker, jobs, interactions, device=device)
        store(folder, modality_use.modality_use(train, judge.catalog, interactions, seeds))
    if _without_swaps(stored(folder)):
        store(folder, validation_swaps(judge, dataset))
    return stored(folder)


def _without_swaps(guards: Mapping[str, Guard]) -> bool:
    """Return whether the swap test is missing, or was stored before it had a control."""
    return swap_test.NAME not in guards or "gain" not in guards[swap_test.NAME].numbers


def validation_swaps(judge: Judge, dataset: Dataset) -> Guard:
    """Return the swap test of a judge on validation choices; test choices are reserved for reports."""
    swaps = swap_test.swaps_of(dataset, judge.catalog, Rng(0), split="valid")
    return swap_test.swap_test([judge.ranker], swaps, judge.catalog)
