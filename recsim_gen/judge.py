"""Judge images from anywhere: how far do they move items in users' lists, and can that be trusted?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions
from recsim_gen.core.specs import JudgeSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recsim_gen.core.types import Dataset
    from recsim_gen.judging.judges import Judge
    from recsim_gen.judging.judging import Judgement


@dataclass(frozen=True, kw_only=True)
class Options(ExperimentOptions):
    """Options of judge.

    Parameters
    ----------
    judges
        Folders that train_ranker wrote, or NAME-seedN to train here (micro-seed0,
        taste@boutique-clip-seed0); the first gave the reward, the others are held-out judges.
    images
        Folder or tar of the images to judge.
    placebo
        Folder or tar of other real pictures of the items: the null distribution.
    users
        User ids to judge every <item id>.png for, instead of those whose test reference it is.
    scope
        graph: exact, as if the item graph were rebuilt; item: only the item's own features change.
    candidates
        Number of random catalogue pictures to try on each pair for its headroom.
    headroom_pairs
        Number of random pairs to measure the headroom of; 0: no headroom.
    swap_choices
        Number of random test choices for the swap test, whether a judge distinguishes better from worse
        pictures of one item; 0: no swap test.
    verify
        Number of triples to compare with the slow rebuild.
    force
        Also judge with rankers whose training showed that they do not use images.
    seeds
        Seeds of noise and of shuffled pictures, averaged.
    """

    judges: tuple[JudgeSpec, ...] = ()
    images: Path | None = None
    placebo: Path | None = None
    users: tuple[str, ...] = ()
    scope: Literal["graph", "item"] = "graph"
    candidates: int = 40
    headroom_pairs: int = 300
    swap_choices: int = 300
    verify: int = 0
    force: bool = False
    seeds: tuple[int, ...] = (0,)
    output: Path = Path("runs/judge")


def main(options: Options) -> None:
    """Score images under trained rankers: delta R and delta MRR beside placebo, noise and other controls.

    Images are named <item id>.png (judged for the users whose test reference the item is) or <user id>/<item
    id>.png, in a folder or tar. Each judge uses the encoder of its own training. Several processes
    (accelerate launch -m …, on CPUs torchrun -m …) share the steps of training judges, and the triples.
    """
    from recsim_gen.artifacts.trained_rankers import prepare
    from recsim_gen.core.processes import this_process, working_together
    from recsim_gen.core.progress import quietly
    from recsim_gen.judging.judges import open_judges
    from recsim_gen.judging.judging import judge

    images, notes = _check(options)  # wrong paths and rankers fail before any data is read
    process, check = this_process(), partial(_check_data, options, images)
    with process.main_process_first():  # the others find what it has encoded
        dataset, catalog, results = prepare("judge", options, check=check)
    for note in notes:
        results.note(note)
    with working_together(), quietly(not process.is_main_process):
        judges = open_judges(options.judges, dataset, catalog, device=options.place, results=results)
        judgement = judge(
            dataset,
            judges,
            images,
            placebo=options.placebo,
            users=options.users or None,
            scope=options.scope,
            seeds=options.seeds,
            candidates=options.candidates,
            headroom_pairs=options.headroom_pairs,
            swap_choices=options.swap_choices,
            verify=options.verify,
            device=options.place,
            results=results,
        )
    if process.is_main_process:
        _publish(judgement, judges, dataset, options)


def _check(options: Options) -> tuple[Path, list[str]]:
    """Return the path of the images, and the notes that the judges' verdicts require.

    Raises SettingError and DataError for what is missing or unusable; reads no data.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.datasets.image_sets import refuse_empty
    from recsim_gen.judging.judges import check_judges
    from recsim_gen.judging.judging import check_numbers

    if not options.judges:
        raise SettingError("give at least one of --judges: a folder that train_ranker wrote, or micro-seed0")
    if options.images is None:
        raise SettingError("give --images: a folder or tar of <item id>.png or <user id>/<item id>.png")
    for path in (options.images, options.placebo):
        if path is not None:
            refuse_empty(path)
    check_numbers(options.seeds, options.candidates, options.headroom_pairs, options.swap_choices)
    return options.images, check_judges(options.judges, force=options.force)


def _check_data(options: Options, images: Path, dataset: Dataset) -> None:
    """Raise errors for pictures of unknown items and people, before the data is encoded."""
    from recsim_gen.datasets.image_sets import read_images

    read_images(images, dataset).pairs(dataset, options.users or None)
    if options.placebo is not None:
        read_images(options.placebo, dataset)


def _publish(judgement: Judgement, judges: Sequence[Judge], dataset: Dataset, options: Options) -> None:
    """Call `report`, and log the numbers of every triple to MLflow."""
    from analysis.distributions import distributions
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.judging.judges import log_curves
    from recsim_gen.metrics.delta_rank import METRICS

    output, samples = options.output, judgement.samples
    title = f"How far do the images move items in users' lists? ({dataset.name})"
    draw = partial(distributions, samples, output / "delta_r", title=title)
    judgement.results.write(output)  # before the tracker, which may fail
    with Tracker.of("judge", options) as tracker:
        log_data(tracker, dataset, context="evaluation")
        log_curves(judges, tracker.run)
        report(judgement.results, tracker, output, draw=draw, metrics=METRICS)
        tracker.run.log_table("samples", samples)


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
