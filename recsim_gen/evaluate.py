"""Table 2: how well generated images fit the person and the reference, by every metric."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, ModelOptions
from recsim_gen.core.results import Results  # at run time: the command line resolves main's return type
from recsim_gen.core.specs import JudgeSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.published import PublishedTable
    from analysis.table2 import Table2
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.experiments.methods import Method
    from recsim_gen.experiments.scored_methods import OpenMethod
    from recsim_gen.judging.judges import Judge
    from recsim_gen.metrics.recipes import Metric
    from recsim_gen.models.family import ModelFamily

PLACEBO = "placebo"


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, ExperimentOptions):
    """Options of evaluate.

    Parameters
    ----------
    gen
        Generators: NAME, or LABEL=NAME:SETTING=VALUE,… for one with settings, separated by spaces or commas.
    checkpoint
        LABEL=DIR of trained generators; the others are trained here, on training choices only.
    images
        LABEL=DIR of images made elsewhere, named <user id>/<item id>.png or <item id>.png.
    metrics
        Presets and metrics: judged, table2, paper, delta_r, cps[boutique-clip], cmmd[boutique-clip],
        verifier[DIR], …
    weights
        Folder of weight files for metrics; default the cache.
    episodes
        Number of test episodes, a random sample that is the same for every generator; 0 is all.
    history
        Number of history items to compare with, the latest ones; 0 is all.
    seeds
        Seeds of training and of the noise.
    retrain
        Train each generator with each seed; with --no-retrain only once, and draw with each seed.
    baseline
        Row that the others are compared with, paired by episode.
    judges
        Rankers to train here, NAME-seedN or NAME@ENCODER-seedN, or folders that train_ranker wrote; those
        that give no reward are held out.
    reward
        METHOD=JUDGE: the judge that a method learns from; default the first, and for a generator that uses
        uncertainty (ragar_taste) the first that reports it.
    scope
        graph: exact, as if the item graph were rebuilt; item: only the item's own features change.
    force
        Also accept judges that do not use images, and rewards by judges that are blind to taste in them.
    published
        Add the papers' numbers in separate tables; they are not comparable.
    """

    gen: tuple[str, ...] = ("original,placebo,sd,textual_inversion,ip_adapter,pmg,ragar,ragar_taste",)
    checkpoint: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("table2",)
    weights: Path | None = None
    episodes: int = 300
    history: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    retrain: bool = True
    baseline: str = "sd"
    judges: tuple[JudgeSpec, ...] = (
        JudgeSpec("micro-seed0"),
        JudgeSpec("micro-seed1"),
        JudgeSpec("vbpr-seed0"),
        JudgeSpec("lattice-seed0"),
        JudgeSpec("taste@boutique-clip-seed0"),
    )
    reward: tuple[str, ...] = ()
    scope: Literal["graph", "item"] = "graph"
    force: bool = False
    published: bool = False
    output: Path = Path("runs/evaluate")


@dataclass(frozen=True)
class Plan:
    """The names among the options, resolved.

    ``metrics`` by name, ``methods`` and their models; ``rewards`` {method: judge}, by labels.
    """

    metrics: tuple[str, ...]
    methods: list[Method]
    family: ModelFamily
    rewards: dict[str, str]

    @property
    def asks_judges(self) -> bool:
        """Whether a metric needs judges."""
        from recsim_gen.metrics.delta_rank import METRICS

        return bool(set(self.metrics) & set(METRICS))


def main(options: Options) -> Results:
    """Train generators, draw, and set them side by side by every metric: the paper's Table 2.

    What was trained or drawn before is loaded. The placebo, another real image of the item, is always
    included if possible. Presets of metrics: judged (rankers, tastes and CLIP; fast), table2, paper (the
    public recipes nearest to RAGAR's table). Several processes (accelerate launch -m …, on CPUs torchrun -m
    …) train and draw a share each.
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.experiments.scored_methods import draw_shares, score_methods
    from recsim_gen.judging.judges import check_judges, log_curves

    plan = _plan(options)  # wrong options fail before any data is read
    notes = check_judges(options.judges, rewarding=plan.rewards.values(), force=options.force)
    process = this_process()
    with process.main_process_first():  # the others load its features and models from the cache
        dataset, catalog, results = prepare("evaluate", options, check=partial(_check_data, plan, options))
        judges = _judges(plan, options, dataset, catalog, results)
    for note in notes:
        results.note(note)
    plan = _with_placebo(plan, catalog, results)
    test = _test_data(dataset, options.episodes, results)
    with Tracker.of("evaluate", options) if process.is_main_process else nullcontext() as tracker:
        open_method = _opened(judges, plan, dataset, options, tracker)
        draw_shares(plan.methods, open_method, test, seeds=options.seeds, retrain=options.retrain)
        if tracker is None:
            return results
        log_data(tracker, dataset, context="evaluation")
        log_curves(judges, tracker.run)
        metrics = _metrics(plan, judges, test, options)
        values = score_methods(
            plan.methods,
            open_method,
            metrics,
            test,
            results,
            seeds=options.seeds,
            history=options.history,
            keywords=_keywords(plan, metrics, test, options.place, results),
        )
        _conclude(values, metrics, plan, options.baseline, results)
        _publish(values, metrics, results, tracker, options)
    return results


def _plan(options: Options) -> Plan:
    """Resolve the names; raise for unknown, missing or contradicting ones."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.registry import did_you_mean
    from recsim_gen.datasets.image_sets import refuse_empty
    from recsim_gen.experiments.methods import check_settings, read_methods
    from recsim_gen.experiments.rewards import rewarding_judges
    from recsim_gen.metrics.delta_rank import METRICS
    from recsim_gen.metrics.presets import listed
    from recsim_gen.metrics.scoring import check_metrics
    from recsim_gen.models.family import open_family

    metrics, family = listed(options.metrics), open_family(options.models)
    methods = read_methods(options.gen, options.checkpoint, options.images)
    check_settings(methods, family)
    for method in methods:
        if method.images is not None:
            refuse_empty(method.images)
    labels = [PLACEBO, *(method.label for method in methods)]
    if options.baseline not in labels:
        hint = did_you_mean(options.baseline, dict.fromkeys(labels))
        raise SettingError(f"--baseline must be a row of the table, got {options.baseline!r}.{hint}")
    for name, count in {"history": options.history, "episodes": options.episodes}.items():
        if count < 0:
            raise SettingError(f"--{name} must be 0 (all) or more, got {count}")
    check_metrics([name for name in metrics if name not in METRICS])
    plan = Plan(metrics, methods, family, rewarding_judges(methods, options.judges, options.reward))
    if plan.asks_judges and not options.judges:
        raise SettingError("give at least one of --judges: micro-seed0, or a folder that train_ranker wrote")
    return plan


def _check_data(plan: Plan, options: Options, dataset: Dataset) -> None:
    """Raise errors that depend on the data, before it is encoded and judges are trained."""
    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.core.errors import SettingError
    from recsim_gen.datasets.image_sets import read_images
    from recsim_gen.experiments.methods import check_controls
    from recsim_gen.judging.queries import MODALITY

    check_controls(plan.methods, plan.family, dataset)
    for method in plan.methods:
        if method.images is not None:
            read_images(method.images, dataset)
    blind = [spec for spec in options.judges if spec.folder is None and spec.encoder is None]
    if plan.asks_judges and blind and MODALITY not in chosen_encoders(dataset, options.encoders):
        raise SettingError(
            f"{blind[0]}: judges see items by an image encoder, {dataset.name} names none: give "
            "--encoders.image"
        )


def _with_placebo(plan: Plan, catalog: Catalog, results: Results) -> Plan:
    """Add a row of the placebo, if possible."""
    from recsim_gen.artifacts.trained_generators import make_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.specs import GeneratorSpec
    from recsim_gen.experiments.methods import Method

    if any(PLACEBO in (method.label, method.generator) for method in plan.methods):
        return plan
    placebo = GeneratorSpec(PLACEBO)
    try:
        make_generator(placebo, models=plan.family).fit(catalog, (), rng=Rng(0))
    except SettingError as error:
        results.note(f"no placebo: {error} (--gen placebo:images=DIR)")
        return plan
    return replace(plan, methods=[Method(PLACEBO, placebo), *plan.methods])


def _judges(
    plan: Plan, options: Options, dataset: Dataset, catalog: Catalog, results: Results
) -> list[Judge]:
    """Return the rewarding judges, which passed the guards, and if a metric needs them the others."""
    from recsim_gen.judging.judges import open_judges

    return open_judges(
        options.judges,
        dataset,
        catalog,
        rewarding=plan.rewards.values(),
        only_rewarding=not plan.asks_judges,
        force=options.force,
        device=options.place,
        results=results,
    )


def _metrics(plan: Plan, judges: Sequence[Judge], dataset: Dataset, options: Options) -> list[Metric]:
    """Return the metrics in the order of the plan; a measure of judges becomes one metric per judge."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.encoders.features import make_encoder
    from recsim_gen.experiments.scored_methods import row_fields
    from recsim_gen.judging.judge_metrics import judge_metrics
    from recsim_gen.judging.queries import MODALITY
    from recsim_gen.metrics.delta_rank import METRICS
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.scoring import open_metrics

    resources = Resources(device=options.place, weights=options.weights, family=plan.family, dataset=dataset)
    rewarding = set(plan.rewards.values()) or {judge.label for judge in judges[:1]}
    encoder = cache(partial(make_encoder, device=options.place))
    has = (*row_fields(dataset), *(["keywords"] if _can_write(plan.family) else []))
    metrics: list[Metric] = []
    for name in plan.metrics:
        if name not in METRICS:
            metrics += open_metrics([name], resources, has=has)
        elif any(MODALITY not in judge.catalog.features for judge in judges):
            raise SettingError(f"{name}: judges see items by an image encoder: give --encoders.image")
        else:
            metrics += judge_metrics([name], judges, rewarding, encoder, scope=options.scope)
    return metrics


def _can_write(family: ModelFamily) -> bool:
    """Return whether the family's language model, which writes keywords, is available."""
    from recsim_gen.core.errors import MissingDependency

    try:
        family.require("language_model")
    except MissingDependency:
        return False
    return True


def _keywords(
    plan: Plan, metrics: Sequence[Metric], dataset: Dataset, device: str | None, results: Results
) -> dict[str, list[str]] | None:
    """Return keywords of each episode's taste if a metric needs them, the same for all methods; else None."""
    if not any("keywords" in metric.needs for metric in metrics):
        return None
    from recsim_gen.core.registry import KEYWORDS, resolve

    episodes = dataset.episodes
    writer = resolve(KEYWORDS, {}, "keywords")(plan.family, device, dataset.catalog)
    tastes = writer.tastes([e.history for e in episodes])
    results.note("keywords of tastes: the family's language model writes them of histories, for all methods")
    return {e.id: words for e, words in zip(episodes, tastes, strict=True)}


def _opened(
    judges: Sequence[Judge], plan: Plan, dataset: Dataset, options: Options, tracker: Tracker | None
) -> OpenMethod:
    """Train the methods; return a function that gives a method's generator for a seed."""
    from recsim_gen.experiments.opened_methods import OpenedMethods

    by_label = {judge.label: judge for judge in judges}
    rewards = {method: by_label[judge] for method, judge in plan.rewards.items() if judge in by_label}
    opened = OpenedMethods(dataset, rewards, plan.family, options.place, tracker)
    opened.train(plan.methods, options.seeds if options.retrain else options.seeds[:1])
    return lambda method, seed: opened.open(method, seed if options.retrain else options.seeds[0])


def _test_data(dataset: Dataset, episodes: int, results: Results) -> Dataset:
    """Return the data set with only the episodes of the evaluation."""
    from recsim_gen.artifacts.trained_generators import chosen_episodes

    chosen, lacking = chosen_episodes(dataset, episodes)
    if lacking:
        results.note(f"{lacking:,} episodes whose reference has no picture are left out")
    return replace(dataset, episodes=chosen)


def _conclude(
    values: pd.DataFrame,
    metrics: Sequence[Metric],
    plan: Plan,
    baseline: str,
    results: Results,
) -> None:
    """Add rows, differences from the baseline and verdicts; unavailable metrics have rows without values."""
    from recsim_gen.core.randomness import Rng
    from recsim_gen.metrics import summary
    from recsim_gen.metrics.presets import about
    from recsim_gen.metrics.scoring import Unavailable

    lacking = [metric for metric in metrics if isinstance(metric, Unavailable)]
    available = {metric.name: about(metric) for metric in metrics if metric not in lacking}
    of_method: dict[str, dict[str, Any]] = {
        method.label: {
            "generator": method.generator,
            "settings": method.settings_text,
            "role": method.role,
            "reward": plan.rewards.get(method.label, ""),
        }
        for method in plan.methods
    }
    of_sets = {m.name: available.pop(m.name) for m in metrics if getattr(m, "of_set", False)}
    summary.add_rows(values, available, of_method, results, Rng(0))
    summary.add_set_rows(values, of_sets, of_method, results)
    for metric in lacking:
        for label, columns in of_method.items():
            more = {**about(metric), **columns, "reason": str(metric)}
            results.row(variant=label, metric=metric.name, value=None, n=0, **more)
    better = {metric.name: metric.higher_is_better for metric in metrics}
    comparisons = summary.compared(values, list(available), baseline, Rng(0))
    summary.add_comparisons(comparisons, baseline, better, of_method, results)


def _publish(
    values: pd.DataFrame,
    metrics: Sequence[Metric],
    results: Results,
    tracker: Tracker,
    options: Options,
) -> None:
    """Call `report` with Table 2 as the printed table, and log the values of every image."""
    from analysis.published import load_published
    from analysis.table2 import table2
    from analysis.table2_text import markdown, published_markdown
    from recsim_gen.core.report import report
    from recsim_gen.core.results import plain
    from recsim_gen.core.store import atomic, write_json
    from recsim_gen.metrics.recipes import stamp

    output = options.output
    results.write(output)  # before trackers and figures, which may fail
    write_json(output / "recipes.json", plain([stamp(metric) for metric in metrics]))
    with atomic(output / "pictures.csv") as temporary:
        values.to_csv(temporary, index=False)
    table = table2(results)
    beside = load_published() if options.published else []
    body = markdown(table) + ("\n" + published_markdown(beside) if beside else "")
    draw = partial(_draw, table, beside, results, output)
    report(results, tracker, output, draw=draw, body=body)
    tracker.run.log_table("pictures", values)


def _draw(table: Table2, published: Sequence[PublishedTable], results: Results, output: Path) -> list[Path]:
    """Draw the tables, and a figure of ablations if variants of a RAGAR differ in one setting."""
    from analysis.ablation_figure import ablated, ablation_figure
    from analysis.table2_text import write_tables

    paths = write_tables(table, output / "table2", published=published)
    for generator in ("ragar", "ragar_taste"):
        if len(ablated(results, generator)):
            name = "ablations" if generator == "ragar" else f"ablations_{generator}"
            paths += ablation_figure(results, output / name, generator=generator)
    return paths


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
