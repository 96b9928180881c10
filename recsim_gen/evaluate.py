"""Table 2: what generators' pictures are worth to the person and to the reference, by every metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import pandas as pd

    from analysis.published import PublishedTable
    from analysis.table2 import Table2
    from recsim_gen.core.protocols import Generator, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.experiments.contenders import Contender
    from recsim_gen.metrics.recipes import Metric
    from recsim_gen.models.family import ModelFamily

PLACEBO = "placebo"


def main(
    gen: tuple[str, ...] = ("original,placebo,sd,textual_inversion,ip_adapter,pmg,ragar",),
    checkpoint: tuple[str, ...] = (),
    images: tuple[str, ...] = (),
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    models: str = "embedded",
    metrics: tuple[str, ...] = ("table2",),
    weights: Path | None = None,
    episodes: int = 300,
    history: int = 0,
    seeds: tuple[int, ...] = (0, 1, 2),
    retrain: bool = True,
    baseline: str = "sd",
    ranker: tuple[Path, ...] = (),
    judges: tuple[str, ...] = ("micro-seed0", "micro-seed1", "vbpr-seed0", "lattice-seed0"),
    judge_settings: dict[str, Any] | None = None,
    scope: Literal["graph", "item"] = "graph",
    force: bool = False,
    published: bool = False,
    output: Path = Path("runs/evaluate"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Train generators or find them, draw, and set them side by side by every metric: the paper's Table 2.

    What was trained or drawn before is found again. The placebo, another real picture of the item, always
    has a line where it can be had. Presets of metrics: judged (what rankers, tastes and CLIP say; quick),
    table2, paper (the public recipes nearest to RAGAR's table). Several processes (accelerate launch -m …,
    on CPUs torchrun -m …) train and draw a share each.

    Parameters
    ----------
    gen
        Generators: NAME, or LABEL=NAME:SETTING=VALUE,… for one with settings, by spaces or commas.
    checkpoint
        LABEL=DIR of trained generators; the others are trained here, on training choices alone.
    images
        LABEL=DIR of pictures made elsewhere, named <user id>/<item id>.png or <item id>.png.
    data
        What to evaluate on: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader.
    encoders
        Encoder of each modality that the judges see items by.
    models
        Family of models: embedded, paper, FOLDER or FILE.yaml.
    metrics
        Presets and metrics: judged, table2, paper, delta_r, cps[boutique-clip], verifier[DIR], …
    weights
        Folder of weight files that metrics need; default the cache.
    episodes
        Test episodes, spread at random and the same for every generator; 0 is all.
    history
        Items of each history to compare with, the last ones; 0 is all.
    seeds
        Of training and of the noise.
    retrain
        Train each generator with each seed; with --no-retrain once, and only draw with each.
    baseline
        The line that the others are compared with, paired by episode.
    ranker
        Folders that train_ranker wrote; the first gives the reward, the others are held-out judges.
    judges
        Rankers to train here where no --ranker is given, as NAME-seedN; the first gives the reward.
    judge_settings
        Settings of these.
    scope
        graph: as if the item graph were built again, exactly; item: the item's own row only.
    force
        Judge with rankers of which training found that they do not use images, too.
    published
        Add the papers' numbers in tables of their own, to read beside; they do not compare.
    output
        Folder for results.json, the table (Markdown, LaTeX, CSV, PNG) and pictures.csv.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where models, metrics and judges run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.experiments.scored_contenders import draw_shares

    asked, lines, family, notes = _check(config)  # what is asked for wrongly is told before any data is read
    process = this_process()
    store: dict[str, Any] = {"output": output, "uri": tracking_uri}
    with process.main_process_first():  # the others find what it has encoded and trained
        dataset, catalog, results = prepare("evaluate", config)
        rankers = _judges(asked, lines, config, catalog, dataset, results)
    for note in notes:
        results.note(note)
    lines = _with_placebo(lines, catalog, family, results)
    test = _episodes(dataset, config, results)
    with Tracker("evaluate", config, **store) if process.is_main_process else nullcontext() as tracker:
        opened = _opener(rankers, dataset, catalog, family, config, tracker)
        draw_shares(lines, opened, dataset, test, seeds=seeds, retrain=retrain)
        if tracker is None:
            return
        log_data(tracker, dataset, context="evaluation")
        found = _metrics(asked, rankers, dataset, family, config)
        values = _score(lines, opened, found, dataset, test, config, results)
        _conclude(values, found, lines, baseline, results)
        _publish(values, found, results, tracker, config)


def _check(config: dict[str, Any]) -> tuple[tuple[str, ...], list[Contender], ModelFamily, list[str]]:
    """Metrics, lines, models, and what is known of the rankers that were brought.

    Errors for what is unknown, missing or does not fit together.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.registry import did_you_mean
    from recsim_gen.datasets.image_sets import refuse_empty
    from recsim_gen.experiments.contenders import check_settings, contenders
    from recsim_gen.judging.judge_metrics import seeded_name
    from recsim_gen.judging.reward_ranker import check_rankers
    from recsim_gen.metrics.presets import listed
    from recsim_gen.models.family import open_family

    asked, family = listed(config["metrics"]), open_family(config["models"])
    lines = contenders(config["gen"], config["checkpoint"], config["images"])
    check_settings(lines, family)
    for line in lines:
        if line.images is not None:
            refuse_empty(line.images)
    labels = [PLACEBO, *(line.label for line in lines)]
    if config["baseline"] not in labels:
        hint = did_you_mean(config["baseline"], dict.fromkeys(labels))
        raise SettingError(f"--baseline must be a line of the table, got {config['baseline']!r}.{hint}")
    for name in config["judges"]:
        seeded_name(name)
    if len(set(config["seeds"])) < len(config["seeds"]) or config["history"] < 0:
        got = f"{config['seeds']} and {config['history']}"
        raise SettingError(f"each seed is wanted once, and a history of 0 or more, got {got}")
    return asked, lines, family, check_rankers(*config["ranker"], force=config["force"])


def _with_placebo(
    lines: list[Contender], catalog: Catalog, family: ModelFamily, results: Results
) -> list[Contender]:
    """With a line of the placebo, where it can be had."""
    from recsim_gen.artifacts.trained_generators import make_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.experiments.contenders import Contender

    if any(PLACEBO in (line.label, line.generator) for line in lines):
        return lines
    try:
        make_generator(PLACEBO, models=family).fit(catalog, (), rng=Rng(0))
    except SettingError as error:
        results.note(f"no placebo: {error} (--gen placebo:pictures=DIR)")
        return lines
    return [Contender(PLACEBO, PLACEBO), *lines]


def _judges(
    asked: Sequence[str],
    lines: Sequence[Contender],
    config: dict[str, Any],
    catalog: Catalog,
    dataset: Dataset,
    results: Results,
) -> dict[str, Ranker]:
    """{name: ranker}, the first the one of the reward; none where nobody asks for one."""
    from recsim_gen.judging.judge_metrics import open_judges
    from recsim_gen.metrics.delta_rank import METRICS

    if not (set(asked) & set(METRICS) or any(line.wants_ranker for line in lines)):
        return {}
    how: dict[str, Any] = {"device": config["device"], "results": results}
    names, settings = config["judges"], config["judge_settings"]
    return open_judges(config["ranker"], names, settings, catalog, dataset.interactions, **how)


def _metrics(
    asked: Sequence[str],
    rankers: Mapping[str, Ranker],
    dataset: Dataset,
    family: ModelFamily,
    config: dict[str, Any],
) -> list[Metric]:
    """In the order asked; a measure of judges becomes one metric a judge."""
    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.core.errors import SettingError
    from recsim_gen.experiments.scored_contenders import known_fields
    from recsim_gen.judging.judge_metrics import judge_metrics
    from recsim_gen.metrics.delta_rank import METRICS
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.scoring import open_metrics

    how: dict[str, Any] = {"device": config["device"], "family": family, "dataset": dataset}
    resources = Resources(weights=config["weights"], **how)
    encoder = chosen_encoders(dataset, config).get("image")
    found: list[Metric] = []
    for name in asked:
        if name not in METRICS:
            found += open_metrics([name], resources, has=known_fields(dataset))
        elif encoder is None:
            raise SettingError(f"{name}: judges see items by an image encoder: give --encoders.image")
        else:
            seen = resources.encoder(encoder)
            found += judge_metrics([name], rankers, seen, len(dataset.catalog), scope=config["scope"])
    return found


def _opener(
    rankers: Mapping[str, Ranker],
    dataset: Dataset,
    catalog: Catalog,
    family: ModelFamily,
    config: dict[str, Any],
    tracker: Tracker | None,
) -> Callable[[Contender, int], Generator]:
    """A contender's generator for a seed, trained with it or with the first one."""
    from recsim_gen.core.processes import this_process
    from recsim_gen.datasets.episodes import training_episodes

    training, device = training_episodes(dataset), config["device"]
    how: dict[str, Any] = {
        "ranker": next(iter(rankers.values()), None),
        "models": family,
        "device": str(this_process().device) if device == "cuda" else device,  # each process its own GPU
        "tracker": tracker,
    }

    def opened(line: Contender, seed: int) -> Generator:
        return line.open(catalog, training, seed=seed if config["retrain"] else config["seeds"][0], **how)

    return opened


def _episodes(dataset: Dataset, config: dict[str, Any], results: Results) -> tuple[Episode, ...]:
    from recsim_gen.artifacts.trained_generators import chosen_episodes

    episodes, lacking = chosen_episodes(dataset, config["episodes"])
    if lacking:
        results.note(f"{lacking:,} episodes whose reference has no picture are left out")
    return episodes


def _score(
    lines: Sequence[Contender],
    opened: Callable[[Contender, int], Generator],
    metrics: Sequence[Metric],
    dataset: Dataset,
    episodes: Sequence[Episode],
    config: dict[str, Any],
    results: Results,
) -> pd.DataFrame:
    from recsim_gen.experiments.scored_contenders import score_contenders

    how: dict[str, Any] = {"seeds": config["seeds"], "history": config["history"]}
    return score_contenders(lines, opened, metrics, dataset, episodes, results, **how)


def _conclude(
    values: pd.DataFrame,
    metrics: Sequence[Metric],
    lines: Sequence[Contender],
    baseline: str,
    results: Results,
) -> None:
    """Rows, differences from the baseline, verdicts; what is unavailable has rows without a value."""
    from recsim_gen.core.randomness import Rng
    from recsim_gen.metrics import summary
    from recsim_gen.metrics.presets import about
    from recsim_gen.metrics.scoring import Unavailable

    lacking = [metric for metric in metrics if isinstance(metric, Unavailable)]
    there = {metric.name: about(metric) for metric in metrics if metric not in lacking}
    of = {
        line.label: {"generator": line.generator, "settings": line.told, "role": line.role} for line in lines
    }
    summary.add_rows(values, there, of, results, Rng(0))
    for metric in lacking:
        for label, told in of.items():
            more = {**about(metric), **told, "reason": str(metric)}
            results.row(variant=label, metric=metric.name, value=None, n=0, **more)
    better = {metric.name: metric.higher_is_better for metric in metrics}
    found = summary.compared(values, list(there), baseline, Rng(0))
    summary.add_comparisons(found, baseline, better, of, results)


def _publish(
    values: pd.DataFrame,
    metrics: Sequence[Metric],
    results: Results,
    tracker: Tracker,
    config: dict[str, Any],
) -> None:
    """What `report` does with Table 2 in the table's place, and the numbers of every picture."""
    from analysis.published import load_published
    from analysis.table2 import table2
    from analysis.table2_text import markdown, published_markdown
    from recsim_gen.core.report import report
    from recsim_gen.core.results import plain
    from recsim_gen.core.store import atomic, write_json
    from recsim_gen.metrics.recipes import stamp

    output: Path = config["output"]
    results.write(output)  # before a tracker or a figure: those may fail
    write_json(output / "recipes.json", plain([stamp(metric) for metric in metrics]))
    with atomic(output / "pictures.csv") as temporary:
        values.to_csv(temporary, index=False)
    table = table2(results)
    beside = load_published() if config["published"] else []
    body = markdown(table) + ("\n" + published_markdown(beside) if beside else "")
    draw = partial(_draw, table, beside, results, output)
    report(results, tracker, output, draw=draw, body=body)
    tracker.run.log_table("pictures", values)


def _draw(table: Table2, published: Sequence[PublishedTable], results: Results, output: Path) -> list[Path]:
    """The tables, and the figure of ablations where variants of RAGAR differ in a setting."""
    from analysis.ablation_figure import ablated, ablation_figure
    from analysis.table2_text import write_tables

    paths = write_tables(table, output / "table2", published=published)
    if len(ablated(results)):
        paths += ablation_figure(results, output / "ablations")
    return paths


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
