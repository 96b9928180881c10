"""Train a generator on the histories of a data set, so that it can draw for the people in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, ModelOptions
from recsim_gen.core.specs import GeneratorSpec, JudgeSpec

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.judging.judges import Judge
    from recsim_gen.models.family import ModelFamily

SHOWN = 6  # episodes on the sheet


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, ExperimentOptions):
    """Options of train_generator.

    Parameters
    ----------
    gen
        Generator to train: textual_inversion, lavit, ip_adapter, pmg, ragar, ragar_taste, ragar_dpo, edit,
        instruct_edit or module:Class.
    judges
        For generators that learn from a ranker, NAME-seedN or folders that train_ranker wrote: the first
        gives the reward; a second is held out, and training stops when its score falls. Default: MICRO with
        the seed; if the first is trained here, it is tested whether it uses images.
    force
        Accept a judge even if it does not use images.
    episodes
        Number of training episodes, sampled with the seed; 0 is all.
    seed
        Seed of weights, batches and noise.
    """

    gen: GeneratorSpec | None = None
    judges: tuple[JudgeSpec, ...] = ()
    force: bool = False
    episodes: int = 0
    seed: int = 0
    output: Path = Path("runs/train_generator")


@dataclass(frozen=True)
class Rankers:
    """Rankers of a training: the one that gives the reward, and a held-out one."""

    reward: Judge | None = None
    watcher: Judge | None = None

    @property
    def judges(self) -> list[Judge]:
        """Those that there are."""
        return [judge for judge in (self.reward, self.watcher) if judge is not None]

    @property
    def rewarding(self) -> Ranker | None:
        """The ranker that gives the reward."""
        return None if self.reward is None else self.reward.ranker

    @property
    def watching(self) -> Ranker | None:
        """The watcher's ranker."""
        return None if self.watcher is None else self.watcher.ranker


def main(options: Options) -> None:
    """Train a generator, and keep it as OUTPUT/generator for generate --checkpoint.

    It learns only from training choices. Finished trainings are loaded from the cache, and an interrupted one
    resumes. Several processes (accelerate launch -m …, on CPUs torchrun -m …) share the batches of each step:
    set --gen-settings.accumulate to at least the number of processes.
    """
    from recsim_gen.artifacts.trained_generators import trained_generator
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import this_process, working_together
    from recsim_gen.core.registry import GENERATORS
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.judging.judges import log_curves
    from recsim_gen.models.family import open_family

    spec = options.gen
    if spec is None:
        raise SettingError(f"give --gen. Generators: {', '.join(GENERATORS)}")
    family = open_family(options.models)
    untrained, notes = _check(spec, family, options)
    process = this_process()
    with process.main_process_first():  # the others load its features and models from the cache
        dataset, catalog, results = _open(untrained, options)
        rankers = _rankers(untrained, dataset, catalog, results, options)
    for note in notes:
        results.note(note)
    episodes = _episodes(dataset, options, results)
    tracking = Tracker.of("train_generator", options) if process.is_main_process else nullcontext()
    with tracking as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
            log_curves(rankers.judges, tracker.run)
        with working_together():
            generator = trained_generator(
                spec,
                catalog if rankers.reward is None else rankers.reward.catalog,
                episodes,
                ranker=rankers.rewarding,
                judge=rankers.watching,
                seed=options.seed,
                models=family,
                device=options.place,
                run=None if tracker is None else tracker.child(untrained.name),
            )
        if tracker is not None:
            _keep(generator, dataset, episodes, rankers, results, options)
            _publish(generator, dataset, results, tracker, options)


def _check(spec: GeneratorSpec, family: ModelFamily, options: Options) -> tuple[Generator, list[str]]:
    """Return the untrained generator, and remarks on the judges; raise errors before any data is read."""
    from recsim_gen.artifacts.trained_generators import make_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import check_batches, this_process
    from recsim_gen.judging.judges import check_judges

    if options.episodes < 0:
        raise SettingError(f"episodes must be 0 (all) or more, got {options.episodes}")
    if len(options.judges) > 2:
        raise SettingError(f"--judges: one that rewards and one that watches, got {len(options.judges)}")
    untrained = make_generator(spec, models=family, device="cpu")
    if not untrained.learns:
        raise SettingError(f"{spec} has nothing to learn: draw with python -m recsim_gen.generate")
    family.require(*untrained.roles)
    notes = check_judges(options.judges, force=options.force)
    check_batches(getattr(untrained.config, "accumulate", 1), this_process().num_processes)
    return untrained, notes


def _open(untrained: Generator, options: Options) -> tuple[Dataset, Catalog, Results]:
    """Return the data, with features only if a ranker needs them."""
    from recsim_gen.artifacts.trained_rankers import prepare
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data

    if untrained.uses_ranker:
        return prepare("train_generator", options)
    dataset = open_data(options.data)
    results = Results("train_generator", options.as_dict(), {"data": dataset.fingerprint})
    for note in dataset.notes:
        results.note(note)
    return dataset, dataset.catalog, results


def _rankers(
    untrained: Generator, dataset: Dataset, catalog: Catalog, results: Results, options: Options
) -> Rankers:
    """Return the rankers of a generator that learns from one: trained or loaded."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.judging.judges import open_judges, reward_judge

    if not untrained.uses_ranker:
        if options.judges:
            results.note(f"{untrained.name} does not learn from rankers: --judges play no part")
        return Rankers()
    rewarding, *watching = _judges(untrained, options)
    reward = reward_judge(
        rewarding,
        dataset,
        catalog,
        results,
        keep=options.output / "ranker",
        force=options.force,
        device=options.place,
    )
    others = open_judges(watching, dataset, catalog, device=options.place, results=results)
    for other in others:
        if dict(other.catalog.encoders) != dict(reward.catalog.encoders):
            raise SettingError(
                f"{other.label} watches what {reward.label} rewards: judges of one encoder are wanted"
            )
    return Rankers(reward, others[0] if others else None)


def _judges(untrained: Generator, options: Options) -> Sequence[JudgeSpec]:
    """Return the given judges; by default MICRO, or a taste for a generator that uses uncertainty."""
    if options.judges:
        return options.judges
    return [JudgeSpec(f"{'taste' if untrained.weighs_doubt else 'micro'}-seed{options.seed}")]


def _episodes(dataset: Dataset, options: Options, results: Results) -> tuple[Episode, ...]:
    import numpy as np

    from recsim_gen.core.randomness import Rng
    from recsim_gen.datasets.episodes import training_episodes

    episodes = training_episodes(dataset)
    if 0 < options.episodes < len(episodes):
        order = Rng(options.seed).for_("training episodes").numpy().permutation(len(episodes))
        episodes = tuple(episodes[row] for row in np.sort(order[: options.episodes]).tolist())
    results.note(f"{len(episodes):,} training episodes of {len({e.user for e in episodes}):,} users")
    return episodes


def _keep(
    generator: Generator,
    dataset: Dataset,
    episodes: Sequence[Episode],
    rankers: Rankers,
    results: Results,
    options: Options,
) -> None:
    """Save the generator in the output folder, and add the record of the training to the results."""
    from recsim_gen.artifacts.checkpoints import Origin
    from recsim_gen.artifacts.trained_generators import keep_generator, kept_generator
    from recsim_gen.artifacts.training_records import read_record

    folder, seed, reward = options.output / "generator", options.seed, rankers.reward
    origin = None if reward is None else Origin(reward.seed or 0, reward.catalog.encoders)
    keep_generator(generator, folder, rankers.rewarding, origin)
    results.fingerprints["generator"] = generator.fingerprint
    results.note(f"draw with it: python -m recsim_gen.generate --checkpoint {folder}")
    kept = kept_generator(
        generator,
        dataset.catalog,
        episodes,
        ranker=rankers.rewarding,
        judge=rankers.watching,
        seed=seed,
    )
    for metric, value in read_record(kept).items():
        results.row(variant=generator.name, metric=metric, value=value, seed=seed, n=len(episodes))


def _publish(
    generator: Generator,
    dataset: Dataset,
    results: Results,
    tracker: Tracker,
    options: Options,
) -> None:
    from recsim_gen.core.report import report

    shown = ["seconds", "peak_memory", "loss"]
    metrics = [m for m in shown if any(row["metric"] == m for row in results.rows)]
    draw = partial(_sheet, generator, dataset, options)
    report(results, tracker, options.output, draw=draw, metrics=metrics)


def _sheet(generator: Generator, dataset: Dataset, options: Options) -> list[Path]:
    """Draw history, reference and image of a few test episodes."""
    from analysis.case_study import Case, Cell, case_study
    from recsim_gen.artifacts.drawn_images import images_for
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.experiments.case_studies import images_in, own_image

    episodes, _ = chosen_episodes(dataset, SHOWN)
    if not episodes:
        return []
    drawn_images = images_in(images_for(generator, dataset, episodes, seed=options.seed), dataset, episodes)
    cases = []
    for episode, drawn in zip(episodes, drawn_images, strict=True):
        history = [(own_image(dataset, row), False) for row in episode.history[-10:]]
        title = dataset.catalog.titles[episode.reference] or dataset.catalog.item_ids[episode.reference]
        name = f"{dataset.interactions.user_ids[episode.user]}: {title}"
        cases.append(Case(name, history, [Cell(own_image(dataset, episode.reference)), Cell(drawn)]))
    return [case_study(cases, ["reference", generator.name], options.output / "pictures.png")]


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
