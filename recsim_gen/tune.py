"""Which settings of a ranker are best on validation? A resumable search by Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, RankerOptions
from recsim_gen.core.specs import RankerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from recsim_gen.artifacts.tuned_rankers import Trial
    from recsim_gen.core.protocols import OnEpoch
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset

BEST = "best.yaml"
GIVEN, TUNED = "as given", "best"


@dataclass(frozen=True, kw_only=True)
class Options(RankerOptions, ExperimentOptions):
    """Options of tune.

    Parameters
    ----------
    ranker
        Ranker to tune: NAME or NAME:RECIPE (micro, micro:published-code), or module:Class. Settings that are
        given are fixed.
    trials
        Number of trials, including those of an earlier search in the same storage.
    storage
        Database of the search, sqlite:///FILE or a server's; default search.db in the output folder. Trials
        of the same search in it are not repeated.
    seeds
        The first trains every trial; all of them train the ranker as given and the best, for the test
        figures.
    """

    trials: int = 20
    storage: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("runs/tune")


def main(options: Options) -> None:
    """Search the settings of a ranker by validation NDCG@20, and write the best as a file for --config.

    Trial 0 is the ranker as given. An interrupted search resumes, and so does one with more trials. The test
    split is used once, at the end of the search, for the ranker as given and the best; it selects nothing.
    """
    from recsim_gen.artifacts.searched_rankers import check_space, search, store_of
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.tracking import Tracker

    if options.trials < 2:
        raise SettingError(
            f"--trials must be 2 or more (the first is the ranker as given), got {options.trials}"
        )
    store = store_of(options.storage, options.output)
    check_space(options.ranker)
    dataset, catalog, results = prepare("tune", options)
    with Tracker.of("tune", options) as tracker:
        log_data(tracker, dataset)

        def on_epoch(trial: Trial) -> OnEpoch:
            return tracker.child(f"trial {trial.number}").log_epoch

        trials = search(
            options.ranker,
            catalog,
            dataset.interactions,
            trials=options.trials,
            store=store,
            seed=options.seeds[0],
            device=options.place,
            on_epoch=on_epoch,
        )
        _tell_trials(trials, results, tracker)
        _tell_test(trials, dataset, catalog, options, results, tracker)
        _publish(trials, dataset, results, tracker, options.output)


def _tell_trials(trials: Sequence[Trial], results: Results, tracker: Tracker) -> None:
    """Add every trial to the results, each as a child run."""
    from recsim_gen.artifacts.tuned_rankers import CHOSEN_BY, best_of

    for trial in trials:
        tracker.child(f"trial {trial.number}").log_params(trial.drawn)
        _add_valid(trial, f"trial {trial.number}", results)
    best = best_of(trials)
    results.verdict(f"best of {len(trials)} trials by validation {CHOSEN_BY}", str(best))
    if best.number == 0:
        results.note("no settings that were tried are better on validation than the ranker as given")


def _add_valid(trial: Trial, variant: str, results: Results) -> None:
    for metric, value in trial.valid.items():
        results.row(variant=variant, metric=f"valid_{metric}", value=value, settings=trial.settings)


def _tell_test(
    trials: Sequence[Trial],
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker,
) -> None:
    """Add the ranker as given and the best on the test split, and their difference, over all seeds."""
    from recsim_gen.artifacts.tuned_rankers import CHOSEN_BY, best_of
    from recsim_gen.metrics.evaluation import add_means

    best = best_of(trials)
    tables = {}
    for variant, trial in {GIVEN: trials[0], TUNED: best}.items():
        tables[variant] = _tested(trial.spec, variant, dataset, catalog, options, results, tracker)
        _add_valid(trial, variant, results)
        add_means(tables[variant], dataset.people, results, variant=variant)
    keys = ["user", "seed"]
    difference = tables[TUNED].set_index(keys) - tables[GIVEN].set_index(keys)
    add_means(difference.reset_index(), dataset.people, results, variant=TUNED, suffix="_minus_given")
    row = next(r for r in results.rows if r["metric"] == f"{CHOSEN_BY}_minus_given" and r["seed"] is None)
    interval = f"{row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
    results.verdict(f"test {CHOSEN_BY}, best less as given", f"{interval} over seeds {options.seeds}")
    results.note("settings were chosen by validation alone; the test split was asked once, after the search")


def _tested(
    spec: RankerSpec,
    variant: str,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker,
) -> pd.DataFrame:
    """Train with every seed and return the metrics of each user's list on the test split."""
    import pandas as pd

    from recsim_gen.artifacts.trained_rankers import trained_rankers
    from recsim_gen.metrics.evaluation import evaluate

    def on_epoch(seed: int) -> OnEpoch:
        return partial(tracker.child(variant).log_epoch, prefix=f"seed_{seed}/")

    rankers = trained_rankers(
        spec, catalog, dataset.interactions, seeds=options.seeds, device=options.place, on_epoch=on_epoch
    )
    for seed, ranker in rankers.items():
        results.fingerprints[f"{variant} seed {seed}"] = ranker.fingerprint
    frames = [evaluate(ranker, dataset.interactions).assign(seed=seed) for seed, ranker in rankers.items()]
    return pd.concat(frames, ignore_index=True)


def _publish(
    trials: Sequence[Trial], dataset: Dataset, results: Results, tracker: Tracker, output: Path
) -> None:
    """Write the best settings as a file, then call `report`."""
    from analysis.search_figure import search_figure, search_table
    from recsim_gen.artifacts.tuned_rankers import CHOSEN_BY, best_of
    from recsim_gen.core.report import report
    from recsim_gen.core.results import write_options
    from recsim_gen.core.table import by_variant, table

    best = best_of(trials).spec
    path = output / BEST
    write_options(path, "train_ranker", {"ranker": best.name, "ranker_settings": dict(best.settings)})
    results.note(
        f"best settings: recsim-gen train_ranker --config {path}; so of other commands with --ranker"
    )
    tried = [(dict(trial.drawn), trial.valid[CHOSEN_BY]) for trial in trials]
    shown = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    for variant, numbers in by_variant(results, shown).items():
        tracker.child(variant).log_metrics(numbers)

    def draw() -> list[Path]:
        title = f"Validation {CHOSEN_BY} by what was set ({dataset.name}, {best})"
        return [*search_figure(tried, output / "search", title=title), path]

    body = f"{search_table(tried)}\n\nOn the test split, value [95% interval] over all seeds:\n\n"
    report(results, tracker, output, draw=draw, body=body + table(results, metrics=shown, digits=4))


if __name__ == "__main__":
    raise SystemExit(run(main))
