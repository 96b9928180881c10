"""Draw pictures of reference items for the people of episodes, and keep them with their provenance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, DeviceOptions, ModelOptions, RunOptions
from recsim_gen.core.specs import GeneratorSpec

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset

IMAGES = "images"  # folder of the pictures, in the output folder
SHOWN = 24  # pictures on the sheet


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, DataOptions, DeviceOptions, RunOptions):
    """Options of generate.

    Parameters
    ----------
    gen
        original, placebo, oracle, sd, glide, textual_inversion, ip_adapter, pmg, ragar, or module:Class.
    checkpoint
        Folder of a trained generator, for those that need training.
    episodes
        Number of test episodes, a random sample that is the same for every generator; 0 is all.
    each
        Pictures per episode, each with its own noise.
    seed
        Seed of the noise.
    """

    gen: GeneratorSpec | None = None
    checkpoint: Path | None = None
    episodes: int = 0
    each: int = 1
    seed: int = 0
    output: Path = Path("runs/generate")


def main(options: Options) -> None:
    """Draw pictures; each is saved as it is drawn, so an interrupted run resumes.

    Pictures are in OUTPUT/images/seed0/<user id>/<item id>.png, for judge --images OUTPUT/images/seed0.
    Several processes share the work: accelerate launch -m recsim_gen.generate (on CPUs torchrun -m …).
    """
    from recsim_gen.artifacts.trained_generators import check_choice, ready_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.progress import say
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.family import open_family

    if options.each < 1 or options.episodes < 0:  # fails before any data is read
        raise SettingError(
            f"each must be 1 or more and episodes 0 or more, got {options.each} and {options.episodes}"
        )
    family = open_family(options.models)
    check_choice(options.gen, options.checkpoint, models=family)
    dataset = open_data(options.data)
    generator = ready_generator(options.gen, options.checkpoint, dataset, models=family, device=options.place)
    fingerprints = {"data": dataset.fingerprint, "generator": generator.fingerprint}
    results = Results("generate", options.as_dict(), fingerprints)
    if generator.roles and (strange := family.unfamiliar(dataset.name)):
        say(f"Note: {strange}")
        results.note(strange)
    _draw(dataset, generator, options, results)
    if this_process().is_main_process:
        _publish(dataset, results, options)


def _draw(dataset: Dataset, generator: Generator, options: Options, results: Results) -> None:
    """Draw this process's share of the missing pictures; add the numbers of all to the results."""
    import time

    from accelerate.utils import gather_object

    from recsim_gen.artifacts.drawn_images import draw, list_in_manifests, missing, provenances, sweep
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.randomness import Rng

    process, folder = this_process(), options.output / IMAGES
    episodes, lacking = chosen_episodes(dataset, options.episodes)
    if lacking:
        results.note(f"{lacking:,} episodes whose reference has no picture are left out")
    planned = provenances(dataset, episodes, generator, n=options.each, stream=options.seed)
    if process.is_main_process:
        sweep(folder)
    todo = missing(folder, planned)
    process.wait_for_everyone()  # no process writes before all have listed the files
    share = list(todo.items())[process.process_index :: process.num_processes]
    start = time.monotonic()
    drawn = draw(generator, dict(share), rng=Rng(options.seed))
    parts = gather_object([(drawn, time.monotonic() - start)])
    if process.is_main_process:
        list_in_manifests(folder)
    total, seconds = sum(count for count, _ in parts), sum(spent for _, spent in parts)
    numbers = {"pictures": len(planned), "drawn": total, "seconds_each": seconds / total if total else None}
    for metric, value in numbers.items():
        results.row(variant=generator.name, metric=metric, value=value, n=len(episodes))


def _publish(dataset: Dataset, results: Results, options: Options) -> None:
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    results.note(f"pictures: {options.output / IMAGES}")
    with Tracker.of("generate", options) as tracker:
        log_data(tracker, dataset, context="generation")
        report(results, tracker, options.output, draw=partial(_sheet, dataset, options.output))


def _sheet(dataset: Dataset, output: Path) -> list[Path]:
    """Draw the first pictures, each above its user and item."""
    from analysis.sheets import contact_sheet
    from recsim_gen.artifacts.drawn_images import first_images

    shown = first_images(output / IMAGES, SHOWN)
    if not shown:
        return []
    titles = dataset.catalog.titles
    row_of = dataset.catalog.row_of
    labels = [f"{made.user}: {titles[row_of[made.item]] or made.item}" for _, made in shown]
    return [contact_sheet([image for image, _ in shown], labels, 8, output / "pictures.png")]


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
