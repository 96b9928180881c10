"""Test the paper's assumptions: do items similar to the reference predict it better? (RAGAR, Sec. 2.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, RankerOptions

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import OnEpoch, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Run, Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode, Interactions
    from recsim_gen.experiments.assumptions import Histories

NAMES = {"exp_ret": "exp-ret", "ret_wrong": "ret-wrong"}


@dataclass(frozen=True, kw_only=True)
class Options(RankerOptions, ExperimentOptions):
    """Options of validate_assumptions.

    Parameters
    ----------
    k
        Number of items in a sub-history ("fixed to 5", Sec. 5.1).
    draws
        Random sub-histories per episode, averaged.
    protocol
        fold-in: one trained ranker scores each sub-history as a new user's. retrain: a ranker per
        variant, trained on the sub-histories.
    seeds
        Seeds of training; episodes and controls are the same for all.
    """

    k: int = 5
    draws: int = 3
    protocol: Literal["fold-in", "retrain"] = "fold-in"
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("runs/validate_assumptions")


def main(options: Options) -> None:
    """Compare Ret, Exp-Ret and Random sub-histories, with controls, and say which assumption holds.

    Trains the ranker on the train split, then ranks each test episode's reference given k items of its
    history: the k most similar to the reference (ret), the next k (exp_ret), k at random (random); controls:
    the last k (recent), all (full), retrieved for another reference (ret_wrong). Several processes
    (accelerate launch -m …, on CPUs torchrun -m …) share the steps of each training.
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker

    for name, count in {"k": options.k, "draws": options.draws}.items():  # fails before any data is read
        if count < 1:
            raise SettingError(f"{name} must be at least 1, got {count}")
    process, check = this_process(), partial(_check_data, options)
    with process.main_process_first():  # the others find what it has encoded
        dataset, catalog, results = prepare("validate_assumptions", options, check=check)
    if process.num_processes > 1:
        _train_together(dataset, catalog, options)
    if not process.is_main_process:
        return
    with Tracker.of("validate_assumptions", options) as tracker:
        log_data(tracker, dataset)
        values, episodes = _values(dataset, catalog, options, results, tracker)
        _conclude(values, episodes, results)
        _publish(values, dataset, results, tracker, options.output)


def _train_together(dataset: Dataset, catalog: Catalog, options: Options) -> None:
    """All trainings of the command by all processes, each with the others; they are found again after."""
    from recsim_gen.artifacts.trained_rankers import trained_rankers
    from recsim_gen.core.processes import working_together
    from recsim_gen.core.randomness import Rng
    from recsim_gen.experiments import assumptions

    logs = [dataset.interactions]
    if options.protocol == "retrain":
        episodes = assumptions.usable(_candidates(dataset, options), options.k)
        histories = assumptions.sub_histories(episodes, catalog.features["text"], options.k, Rng(0))
        logs = [*_logs(dataset.interactions, episodes, histories).values()]
    with working_together():
        for log in logs:
            trained_rankers(options.ranker, catalog, log, seeds=options.seeds, device=options.place)


def _logs(
    interactions: Interactions, episodes: tuple[Episode, ...], histories: dict[str, list[Histories]]
) -> dict[str, Interactions]:
    """Return the interactions that each variant's ranker is trained on under the protocol retrain."""
    from recsim_gen.experiments.assumptions import retrain_interactions

    return {
        variant: retrain_interactions(interactions, episodes, chosen)
        for variant, (chosen, *_) in histories.items()
    }


def _check_data(options: Options, dataset: Dataset) -> None:
    """Raise errors that depend on the data, before it is encoded."""
    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.core.errors import SettingError
    from recsim_gen.experiments import assumptions

    encoders = chosen_encoders(dataset, options.encoders)
    if "text" not in encoders:
        got = sorted(encoders)
        raise SettingError(f"retrieval compares texts: --encoders.text must be given, got encoders of {got}")
    assumptions.usable(_candidates(dataset, options), options.k)


def _values(
    dataset: Dataset, catalog: Catalog, options: Options, results: Results, tracker: Tracker
) -> tuple[pd.DataFrame, tuple[Episode, ...]]:
    """Return Recall and NDCG of every variant, seed and episode; and the episodes."""
    import pandas as pd

    from recsim_gen.artifacts.serving import log_ranker
    from recsim_gen.artifacts.trained_rankers import trained_rankers
    from recsim_gen.core.randomness import Rng
    from recsim_gen.experiments import assumptions

    def train(
        name: str, run: Run, chosen: Interactions, on_epoch: Callable[[int], OnEpoch] | None = None
    ) -> dict[int, Ranker]:
        """Train or load the ranker with each seed, and log it to the run."""
        rankers = trained_rankers(
            options.ranker, catalog, chosen, seeds=options.seeds, device=options.place, on_epoch=on_epoch
        )
        for seed, ranker in rankers.items():
            results.fingerprints[f"{name} seed {seed}"] = ranker.fingerprint
            log_ranker(run, ranker, catalog, chosen, name=f"ranker-seed{seed}")
        return rankers

    retrain = options.protocol == "retrain"
    episodes, whole = _episodes(dataset, options, results)
    draws = 1 if retrain else options.draws
    text = catalog.features["text"]
    histories = assumptions.sub_histories(episodes, text, options.k, Rng(0), draws=draws)
    tables = []
    if not retrain:

        def on_epoch(seed: int) -> OnEpoch:
            return partial(tracker.run.log_epoch, prefix=f"seed_{seed}/")

        for seed, ranker in train("ranker", tracker.run, dataset.interactions, on_epoch).items():
            tables.append(assumptions.fold_in_ranks(ranker, episodes, histories, seed))
    logs = _logs(dataset.interactions, episodes, histories) if retrain else {}
    for variant, interactions in logs.items():
        for seed, ranker in train(f"ranker {variant}", tracker.child(variant), interactions).items():
            tables.append(assumptions.known_user_ranks(ranker, whole, variant, seed))
    return assumptions.per_episode(pd.concat(tables, ignore_index=True)), episodes


def _episodes(
    dataset: Dataset, options: Options, results: Results
) -> tuple[tuple[Episode, ...], list[Episode]]:
    """Return the episodes that are long enough; and the same with the user's whole history, to be masked."""
    from recsim_gen.experiments import assumptions

    candidates = _candidates(dataset, options)
    episodes = assumptions.usable(candidates, options.k)
    left, all_ = len(candidates) - len(episodes), len(candidates)
    if left:
        results.note(f"{left} of {all_} episodes left out: history shorter than 2k = {2 * options.k}")
    kept = {e.id for e in episodes}
    return episodes, [e for e in dataset.episodes if e.id in kept]


def _candidates(dataset: Dataset, options: Options) -> tuple[Episode, ...]:
    """Return the test episodes; for the protocol retrain without the valid item.

    The valid item is used for early stopping.
    """
    from recsim_gen.experiments import assumptions

    if options.protocol == "retrain":
        return assumptions.without_valid(dataset.episodes, dataset.interactions)
    return dataset.episodes


def _conclude(values: pd.DataFrame, episodes: tuple[Episode, ...], results: Results) -> None:
    """Add rows, differences and verdicts, for each seed and over all."""
    from recsim_gen.core.randomness import Rng
    from recsim_gen.experiments import assumptions

    person = {e.id: e.source_user for e in episodes}
    words: dict[str, list[str]] = {assumption: [] for assumption in assumptions.ASSUMPTIONS}
    for seed in [*dict.fromkeys(values["seed"]), None]:
        part = values if seed is None else values[values["seed"] == seed]
        for (variant, metric), e in assumptions.estimates(part, person, Rng(0)).items():
            results.row(
                variant=variant, metric=metric, seed=seed, value=e.value, low=e.low, high=e.high, n=e.n
            )
        comparisons = assumptions.compare(part, person, Rng(0))
        for c in comparisons:
            e = c.estimate
            results.row(
                variant=c.better,
                metric=f"{c.metric}_minus_{c.worse}",
                seed=seed,
                value=e.value,
                low=e.low,
                high=e.high,
                n=e.n,
                p_holm=c.p_holm,
            )
        for assumption in assumptions.ASSUMPTIONS:
            words[assumption].append(assumptions.verdict(assumption, comparisons))
    for assumption, (*by_seed, together) in words.items():
        why = assumptions.explain(assumption, comparisons)
        results.verdict(assumption, f"{together} (by seed: {', '.join(by_seed)}): {why}")


def _publish(
    values: pd.DataFrame, dataset: Dataset, results: Results, tracker: Tracker, output: Path
) -> None:
    """Call `report`, and log the numbers of every episode to MLflow."""
    from analysis.figures import grouped_bars
    from recsim_gen.core.report import report
    from recsim_gen.experiments.assumptions import METRICS

    title = f"Which part of a history foretells the reference? ({dataset.name})"
    draw = partial(
        grouped_bars,
        results,
        output / "assumptions",
        title=title,
        ylabel="per episode",
        metrics=[*METRICS],
        names=NAMES,
    )
    report(results, tracker, output, draw=draw, metrics=[*METRICS])
    tracker.run.log_table("episodes", values)


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
