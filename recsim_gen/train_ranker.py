"""Train rankers and report how well they rank; keep them for judging."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions
from recsim_gen.core.specs import RankerSpec

if TYPE_CHECKING:
    from recsim_gen.core.protocols import OnEpoch, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset


@dataclass(frozen=True, kw_only=True)
class Options(ExperimentOptions):
    """Options of train_ranker.

    Parameters
    ----------
    ranker
        One or several: NAME or NAME:RECIPE (popularity bpr lightgcn vbpr lattice micro taste din).
    masked
        Splits whose items are removed from a user's list (only "train" in MICRO's published code).
    for_reward
        Test whether each ranker uses images (train again with images permuted among items, every seed) and
        distinguishes better from worse pictures of one item (swap test on validation choices), and store the
        verdicts with it: a judge must pass the first, one that gives a reward both.
    trials
        Number of settings to try for each ranker with the first seed: its own, and others drawn at random
        from its search space; the best by validation NDCG@20 is trained. 1 uses its own.
    seeds
        Seeds of initial weights and negatives.
    """

    ranker: tuple[RankerSpec, ...] = (RankerSpec("micro"),)
    masked: tuple[Literal["train", "valid"], ...] = ("train", "valid")
    for_reward: bool = False
    trials: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("runs/train_ranker")


def main(options: Options) -> None:
    """Train rankers on the train split, stop by the valid split, report on the test split.

    Each is saved as OUTPUT/<ranker>-seed<seed> (config.json and model.safetensors). Several processes
    (accelerate launch -m …, on CPUs torchrun -m …) share the steps of each training.
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker

    seeds = options.seeds
    if options.trials < 1:
        raise SettingError(f"--trials must be 1 or more, got {options.trials}")
    if options.for_reward and len(set(seeds)) < 2:
        raise SettingError(f"--for-reward compares seeds: give at least 2 --seeds, got {seeds}")
    process = this_process()
    with process.main_process_first():  # the others find what it has encoded
        dataset, catalog, results = prepare("train_ranker", options)
    if options.for_reward and "image" not in catalog.features:
        raise SettingError(
            f"--for-reward needs image features, {dataset.name} has {sorted(catalog.features)}"
        )
    if process.num_processes > 1:
        _train_together(dataset, catalog, options)
    if not process.is_main_process:
        return
    with Tracker.of("train_ranker", options) as tracker:
        log_data(tracker, dataset)
        for given in options.ranker:
            spec = _searched(given, dataset, catalog, options, results, tracker)
            _train(spec, dataset, catalog, options, results, tracker)
            if options.for_reward:
                _test_as_judge(spec, dataset, catalog, options, results)
        _publish(dataset, results, tracker, options.output)


def _train_together(dataset: Dataset, catalog: Catalog, options: Options) -> None:
    """All trainings of the command by all processes, each with the others; they are found again after."""
    from recsim_gen.artifacts.trained_rankers import trained_ranker, trained_rankers
    from recsim_gen.artifacts.tuned_rankers import best_of, run_trials, trials_of
    from recsim_gen.core.processes import working_together
    from recsim_gen.core.randomness import Rng
    from recsim_gen.judging.modality_use import modality_use

    device, interactions = options.place, dataset.interactions
    with working_together():
        for given in options.ranker:
            trials, spec = trials_of(given, options.trials, Rng(0)), given
            if len(trials) > 1:
                run = run_trials(trials, catalog, interactions, seed=options.seeds[0], device=device)
                spec = best_of(run).spec
            trained_rankers(spec, catalog, interactions, seeds=options.seeds, device=device)
            if options.for_reward:

                def train(items: Catalog, seed: int, spec: RankerSpec = spec) -> Ranker:
                    return trained_ranker(spec, items, interactions, seed=seed, device=device)

                modality_use(train, catalog, interactions, options.seeds)


def _searched(
    spec: RankerSpec,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker,
) -> RankerSpec:
    """Return the ranker with the settings of its best trial; log every trial as a child run."""
    from recsim_gen.artifacts.tuned_rankers import Trial, best_of, run_trials, trials_of
    from recsim_gen.core.randomness import Rng

    if options.trials == 1:
        return spec

    def on_epoch(trial: Trial) -> OnEpoch:
        return tracker.child(f"{spec.name} trial {trial.number}").log_epoch

    trials = run_trials(
        trials_of(spec, options.trials, Rng(0)),
        catalog,
        dataset.interactions,
        seed=options.seeds[0],
        device=options.place,
        on_epoch=on_epoch,
    )
    for trial in trials:
        child = tracker.child(f"{spec.name} trial {trial.number}")
        child.log_params(trial.drawn)
        child.log_metrics({f"valid_{metric}": value for metric, value in trial.valid.items()})
        for metric, value in trial.valid.items():
            name = f"trial_{trial.number}_valid_{metric}"
            results.row(variant=spec.name, metric=name, value=value, settings=trial.settings)
    best = best_of(trials)
    numbers = ", ".join(f"{metric} {value:.4f}" for metric, value in best.valid.items())
    results.verdict(f"best of {len(trials)} trials ({spec})", f"{best}; on validation {numbers}")
    return best.spec


def _train(
    spec: RankerSpec,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker,
) -> None:
    """Train, save and evaluate one ranker with every seed; add each seed and all together to the results."""
    import pandas as pd

    from recsim_gen.artifacts.checkpoints import Origin, keep_ranker
    from recsim_gen.artifacts.serving import log_ranker
    from recsim_gen.artifacts.trained_rankers import trained_rankers
    from recsim_gen.metrics.evaluation import add_means, evaluate

    def on_epoch(seed: int) -> OnEpoch:
        return partial(tracker.child(spec.name).log_epoch, prefix=f"seed_{seed}/")

    rankers = trained_rankers(
        spec, catalog, dataset.interactions, seeds=options.seeds, device=options.place, on_epoch=on_epoch
    )
    frames = []
    for seed, trained in rankers.items():
        keep_ranker(trained, _folder(options, spec, seed), Origin(seed, catalog.encoders))
        served = f"ranker-seed{seed}"
        log_ranker(tracker.child(spec.name), trained, catalog, dataset.interactions, name=served)
        results.fingerprints[f"{spec} seed {seed}"] = trained.fingerprint
        values = evaluate(trained, dataset.interactions, masked=options.masked).assign(seed=seed)
        frames.append(values)
        for lists, share in getattr(trained, "neighbour_recall", {}).items():
            results.note(f"{spec} seed {seed}: an index found {share:.4f} of the true neighbours ({lists})")
    table = pd.concat(frames, ignore_index=True)
    add_means(table, dataset.people, results, variant=spec.name)
    tracker.child(spec.name).log_table("users", table)


def _folder(options: Options, spec: RankerSpec, seed: int) -> Path:
    return options.output / f"{spec.name.replace(':', '-')}-seed{seed}"


def _test_as_judge(
    spec: RankerSpec, dataset: Dataset, catalog: Catalog, options: Options, results: Results
) -> None:
    """Test whether the ranker uses images and recognises taste in them; store the verdicts with each seed."""
    from recsim_gen.artifacts.trained_rankers import train_missing, trained_ranker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.judging.guards import add_guard
    from recsim_gen.judging.modality_use import modality_use, trainings
    from recsim_gen.judging.swap_test import swap_test, swaps_of
    from recsim_gen.judging.verdicts import store

    def train(items: Catalog, seed: int) -> Ranker:
        return trained_ranker(spec, items, dataset.interactions, seed=seed, device=options.place)

    jobs = trainings(catalog, options.seeds)
    train_missing(spec, jobs, dataset.interactions, device=options.place)
    rankers = [train(catalog, seed) for seed in options.seeds]
    swaps = swaps_of(dataset, catalog, Rng(0), split="valid")
    guards = [
        modality_use(train, catalog, dataset.interactions, options.seeds),
        swap_test(rankers, swaps, catalog),
    ]
    for seed in options.seeds:
        store(_folder(options, spec, seed), *guards)
    for guard in guards:
        add_guard(guard, spec.name, results, variant=spec.name)


def _publish(dataset: Dataset, results: Results, tracker: Tracker, output: Path) -> None:
    from analysis.figures import grouped_bars
    from recsim_gen.core.report import report

    shown = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    title = f"How well does each ranker foretell the next item? ({dataset.name})"
    draw = partial(grouped_bars, results, output / "rankers", title=title, ylabel="per user", metrics=shown)
    report(results, tracker, output, draw=draw, metrics=shown, digits=4)


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
