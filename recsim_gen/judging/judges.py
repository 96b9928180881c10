"""Judges: trained rankers under the names that results give them, trained here or read from a folder.

A judge that gives a reward must have passed two guards (`verdicts`): it looks at images, and it sees taste in
them.
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


TRAININGS = 4  # with pictures and without, that tell whether a ranker uses them: fewer are too few to tell


@dataclass(frozen=True)
class Judge:
    """A trained ranker that judges images.

    Parameters
    ----------
    name
        What the seeds of one kind of judge share: ``micro``, ``taste@boutique-clip``. Their ΔR is averaged
        per query.
    seed
        Seed of the training; None where it is not known.
    ranker
        What is asked.
    catalog
        The items as it sees them, with the features of its training: pictures are encoded likewise.
    kept
        Folder in which what was trained here is kept, with the curves of its training.
    """

    name: str
    seed: int | None
    ranker: Ranker
    catalog: Catalog = field(repr=False)
    kept: Path | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """The judge's own name in tables: ``micro-seed0``, or the name alone without a seed."""
        return self.name if self.seed is None else f"{self.name}-seed{self.seed}"


def judge_labels(judges: Sequence[JudgeSpec]) -> list[str]:
    """Label of each judge: its name, or its folder's with as many parents as tell all apart.

    Raises SettingError where one is given twice.
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
    """Return what readers of the judges' numbers must know; read no data.

    Raises DataError for a folder that is no checkpoint, and SettingError for an unknown ranker or
    setting, for one judge twice, and, unless ``force``, for a ranker whose training showed that it does
    not use images, or that it is blind among them and labelled as ``rewarding``. What was not tested,
    `open_judges` notes.
    """
    notes: list[str] = []
    for label, spec in zip(judge_labels(judges), judges, strict=True):
        if spec.folder is None:
            spec.check()
        else:
            ranker_name(spec.folder)
            rewards = label in rewarding
            told = gate(stored(spec.folder), label, asked=REWARDS if rewards else JUDGES, force=force)
            notes += [] if rewards else told
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
    """Load the judges that are folders, and train the others here, or load them if trained before.

    ``catalog`` has the data set's items by the command's encoders. ``rewarding`` are the labels of those that
    give a reward: see `reward_judge`, also for ``force``; others are not opened with ``only_rewarding``. The
    fingerprint of each judge is added to
    ``results``, and a note for each other one that is trained here: nobody tested whether it looks at images
    (`check_judges` does that for folders).
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
    """Load the judge that ``spec`` names, or train it here; it sees items by encoders of its own.

    ``label`` (default: the folder's name) is that of a folder, and ends in the folder's name. Raises
    DataError for other data than the ranker was trained on.
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
    """Whether the ranker is a `ContentJudge`, by its config where that says; trains and loads nothing."""
    name = spec.ranker.parts[0] if spec.folder is None else ranker_name(spec.folder)
    if name in RANKER_CONFIGS:
        return getattr(resolve(name, RANKER_CONFIGS, "ranker"), "says_how_sure", False)
    return hasattr(resolve(name, RANKERS, "ranker"), "appraise")


def catalog_for(spec: JudgeSpec, dataset: Dataset, catalog: Catalog, *, device: str = "cpu") -> Catalog:
    """The items as the judge ``spec`` sees them: ``catalog``, unless it has encoders of its own."""
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
    """Return the judge ``spec`` once it has passed both guards, whose verdicts are added to the results.

    Of a ranker that is trained here they are asked once, and kept with it: `modality_use` takes eight
    trainings, with the judge's seed and the next three, loaded if they were done before; `swap_test` asks
    about validation choices. Of a folder the first is read. Raises SettingError where the ranker fails
    either, unless ``force``.

    Parameters
    ----------
    spec, dataset, catalog
        As of `judges.open_judges`.
    results
        Gets verdicts, notes and the judge's fingerprint.
    label
        Of a folder, in results; default its name.
    keep
        Folder to write a ranker that is trained here to, with its verdicts, as train_ranker does.
    force
        Let one pass that failed.
    device
        Where it runs.
    """
    judge = open_judge(spec, dataset, catalog, label=label, device=device)
    if spec.folder is None:
        guards = _asked_once(spec, judge, dataset, device)
        if keep is not None:
            keep_ranker(judge.ranker, keep, Origin(spec.seed, judge.catalog.encoders))
            store(keep, *guards.values())
    else:
        guards = stored(spec.folder)
        if swap_test.NAME not in guards:
            guards[swap_test.NAME] = validation_swaps(judge, dataset)
    for guard in guards.values():
        results.verdict(f"{guard.name} ({judge.label})", f"{guard.verdict}: {guard.sentence}")
    for note in gate(guards, judge.label, asked=REWARDS, force=force):
        results.note(note)
    results.fingerprints[f"ranker {judge.label}"] = judge.ranker.fingerprint
    return judge


def _asked_once(spec: JudgeSpec, judge: Judge, dataset: Dataset, device: str) -> dict[str, Guard]:
    """The guards of a judge that is trained here, kept where the ranker is."""
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
    if swap_test.NAME not in stored(folder):
        store(folder, validation_swaps(judge, dataset))
    return stored(folder)


def validation_swaps(judge: Judge, dataset: Dataset) -> Guard:
    """The swap test of a judge on validation choices: test choices are for reports alone."""
    swaps = swap_test.swaps_of(dataset, judge.catalog, Rng(0), split="valid")
    return swap_test.swap_test([judge.ranker], swaps, judge.catalog)
