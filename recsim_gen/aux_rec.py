"""Do generated images make a better recommender? Replace pictures, train again, compare. (RAGAR, RQ4.)"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, ModelOptions, RankerOptions
from recsim_gen.core.specs import JudgeSpec

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from recsim_gen.core.protocols import OnEpoch
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Interactions
    from recsim_gen.datasets.image_sets import ImageSet
    from recsim_gen.experiments.auxiliary.training import Case, Drawn
    from recsim_gen.experiments.methods import Method
    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True, kw_only=True)
class Options(RankerOptions, ModelOptions, ExperimentOptions):
    """Options of aux_rec.

    Parameters
    ----------
    world
        What people choose by. own: the items' own pictures, as in the data; shown: the shop shows each
        generator's pictures, people choose again by what they see, the ranker learns from that (Boutique).
    gen
        Generators: ragar, pmg, ip_adapter, textual_inversion, sd, oracle, or module:Class; with settings
        as LABEL=NAME:SETTING=VALUE; none: only the controls.
    truth
        Add rows of oracle, which reads the simulator's true preferences, and of sd, which is not
        personalised, if the true preferences are known (Boutique).
    leakage
        strict: pictures are drawn for training pairs only; paper: for the test references, which leaks the
        answer to the ranker: its tables are marked leaky. Both: side by side, on the same items.
    aggregate
        How to combine several pictures of an item: mean of their features, the latest, or the one most
        similar to the others (vote).
    fraction
        Shares of the items to replace; a larger share includes the items of a smaller one.
    items
        Number of items to replace, sampled from those with a picture and an episode; 0 is all.
    each
        Pictures per item, for its latest episodes; 0 is one for each episode.
    least_history
        Minimal number of items before the reference of an episode that a picture is drawn for; RAGAR
        retrieves 5 of them.
    cold
        Items with at most this number of training choices are cold and also evaluated separately.
    placebo
        Folder or tar of other real pictures of the items, <item id>.png; Boutique draws its own.
    placebo_is_real
        State that the placebo's pictures were made for no user, which <item id>.png does not show (strict).
    seeds
        Seeds of training.
    judges
        Judges that generators may learn from: NAME-seedN, NAME@ENCODER-seedN or folders. A generator learns
        from the first, ragar_taste from the first that reports its uncertainty. Default: the ranker with the
        first seed, and a taste.
    force
        Also use judges that do not use images, or are blind to taste in them, as rewards.
    published
        Add the paper's numbers in a separate table; they are not comparable.
    """

    world: tuple[Literal["own", "shown"], ...] = ("own",)
    gen: tuple[str, ...] = ("none",)
    truth: bool = True
    leakage: tuple[Literal["strict", "paper"], ...] = ("strict",)
    aggregate: Literal["mean", "latest", "vote"] = "mean"
    fraction: tuple[float, ...] = (1.0,)
    items: int = 0
    each: int = 0
    least_history: int = 5
    cold: int = 5
    placebo: Path | None = None
    placebo_is_real: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    judges: tuple[JudgeSpec, ...] = ()
    force: bool = False
    published: bool = False
    output: Path = Path("runs/aux_rec")


def main(options: Options) -> None:
    """Train a ranker on generated pictures in place of the items' own, and on controls, and compare.

    Every variant replaces the pictures of the same items, and has the same initial weights, negatives and
    test choices: original, each generator, placebo (another real picture), shuffled (pictures permuted among
    these items), mean_feature and noise. Pictures, generators and rankers are cached by content; several
    processes share the work (on CPUs torchrun -m …).
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker

    methods, family = _checked(options)  # wrong settings fail before any data is read
    check = partial(_check_data, methods, family, options)
    dataset, catalog, results = prepare("aux_rec", options, check=check)
    methods = _with_truth(methods, dataset, options, results)
    main_process = this_process().is_main_process
    with Tracker.of("aux_rec", options) if main_process else nullcontext() as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
        policies, images = _policies(methods, family, dataset, catalog, options, results, tracker)
        values = _values(policies, dataset, catalog, options, results, tracker)
        shown = _shown(policies, images, family, dataset, catalog, options, results, tracker)
        if tracker is not None:
            _publish(values, shown, policies, images, dataset, options, results, tracker)


def _checked(options: Options) -> tuple[list[Method], ModelFamily]:
    """Return the generators and their models; raise for unknown, invalid or repeated values."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.datasets.image_sets import refuse_empty
    from recsim_gen.experiments.auxiliary.drawing import read_generators
    from recsim_gen.experiments.rewards import default_judges, rewarding_judges
    from recsim_gen.judging.judges import check_judges
    from recsim_gen.models.family import open_family

    for share in options.fraction:
        if not 0 < share <= 1:
            raise SettingError(f"fraction must be above 0 and at most 1, got {share:g}")
    counts = {
        "items": options.items,
        "each": options.each,
        "least_history": options.least_history,
        "cold": options.cold,
    }
    for name, count in counts.items():
        if count < 0:
            raise SettingError(f"{name} must be 0 or more, got {count}")
    if options.placebo is not None:
        refuse_empty(options.placebo)
    check_judges(options.judges, force=options.force)
    family = open_family(options.models)
    methods = read_generators(options.gen, family)
    rewarding_judges(methods, options.judges or default_judges(options.ranker, options.seeds[0]))
    return methods, family


def _check_data(methods: list[Method], family: ModelFamily, options: Options, dataset: Dataset) -> None:
    """Raise errors that depend on the data, before it is encoded."""
    from recsim_gen.datasets.image_sets import read_images
    from recsim_gen.experiments.methods import check_controls
    from recsim_gen.experiments.simulation.shown_log import known_shop

    check_controls(methods, family, dataset)
    if options.placebo is not None:
        read_images(options.placebo, dataset)
    if "shown" in options.world:
        known_shop(dataset)


def _with_truth(methods: list[Method], dataset: Dataset, options: Options, results: Results) -> list[Method]:
    """Return the methods, with the oracle and ``sd`` if preferences are known; note what can be concluded."""
    from recsim_gen.experiments.auxiliary.drawing import KNOWN_TRUTH, with_known_truth
    from recsim_gen.experiments.auxiliary.meaning import TRUTH, WORLDS

    for world in options.world:
        results.note(WORLDS[world])
    more = with_known_truth(methods, dataset) if options.truth else methods
    if any(method.generator in KNOWN_TRUTH for method in more):
        results.note(TRUTH)
    return more


def _policies(
    methods: list[Method],
    family: ModelFamily,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker | None,
) -> tuple[list[Drawn], dict[str, ImageSet]]:
    """Return for each policy the items to replace and the features of all their pictures.

    And the pictures.
    """
    from recsim_gen.core.errors import DataError
    from recsim_gen.datasets.image_sets import read_images
    from recsim_gen.experiments.auxiliary.conditions import conditions, shared_items
    from recsim_gen.experiments.auxiliary.drawing import drawn_features, drawn_images, open_generators
    from recsim_gen.experiments.auxiliary.features import PLACEBO, assert_strict_images
    from recsim_gen.experiments.auxiliary.meaning import same_items
    from recsim_gen.experiments.rewards import default_judges, reward_judges
    from recsim_gen.judging.judges import log_curves
    from recsim_gen.judging.queries import MODALITY

    if MODALITY not in catalog.features:
        raise DataError(
            f"pictures are replaced: data with pictures and an encoder of them is wanted, {dataset.name} has "
            f"features of {sorted(catalog.features)}",
            remedy="Name other --data, or give --encoders.image",
        )
    least = options.least_history
    among = shared_items(dataset, least_history=least) if len(options.leakage) > 1 else None
    chosen = [  # before any training
        conditions(dataset, policy, items=options.items, each=options.each, least_history=least, among=among)
        for policy in options.leakage
    ]
    if among is not None:
        results.note(same_items(len(among)))
    brought = None if options.placebo is None else read_images(options.placebo, dataset)
    if brought is not None and "strict" in options.leakage:
        assert_strict_images(brought, dataset, of_nobody=options.placebo_is_real)
    seed, device = options.seeds[0], options.place

    specs = options.judges or default_judges(options.ranker, seed)
    judges = reward_judges(methods, specs, dataset, catalog, results, force=options.force, device=device)
    if tracker is not None:
        log_curves(judges.values(), tracker.run)
    generators = open_generators(
        methods,
        dataset,
        judges=judges,
        family=family,
        seed=seed,
        device=device,
        tracker=tracker,
    )
    results.fingerprints.update({f"generator {name}": g.fingerprint for name, g in generators.items()})
    encoder = catalog.encoder_of(MODALITY)
    policies: list[Drawn] = []
    images: dict[str, ImageSet] = {}
    for c in chosen:
        sets = {name: drawn_images(g, dataset, c.episodes, seed=seed) for name, g in generators.items()}
        if brought is not None:
            sets[PLACEBO] = brought
        features = drawn_features(
            c,
            dataset,
            sets,
            encoder,
            results,
            rule=options.aggregate,
            device=device,
            placebo_is_real=options.placebo_is_real,
        )
        policies.append((c, features))
        images |= {f"{name}_{c.leakage}": drawn for name, drawn in sets.items()}
    return policies, images


def _values(
    policies: list[Drawn],
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker | None,
) -> pd.DataFrame:
    """Return the metrics of every user's list in every case and seed; empty except on the main process."""
    import pandas as pd

    from recsim_gen.artifacts.serving import log_ranker
    from recsim_gen.experiments.auxiliary import training
    from recsim_gen.experiments.auxiliary.features import ORIGINAL

    interactions = dataset.interactions
    if "own" not in options.world:
        return pd.DataFrame()
    groups = training.by_popularity(interactions, options.cold)
    counts = ", ".join(f"{int((g.split == 'test').sum()):,} {n[1:]}" for n, g in groups.items() if n)
    results.note(f"test choices: {counts}; cold items have at most {options.cold} training choices")

    def curve(seed: int, case: Case) -> OnEpoch:
        assert tracker is not None
        return partial(tracker.child(case.variant).log_epoch, prefix=f"{case.prefix}seed_{seed}/")

    frames = [pd.DataFrame()]
    for seed in options.seeds:
        catalogs = training.cases(catalog, policies, options.fraction, seed)
        served = [c for c in catalogs if c.fraction in (0, max(options.fraction))]
        served = [c for c in served if c.leakage in ("", options.leakage[0])]  # one case per variant
        rankers = training.retrained(
            options.ranker,
            catalogs,
            interactions,
            seed=seed,
            device=options.place,
            on_epoch=None if tracker is None else partial(curve, seed),
        )
        for case, ranker in rankers:
            if case.variant == ORIGINAL:
                results.fingerprints[f"ranker seed {seed}"] = ranker.fingerprint
            if tracker is not None and seed == options.seeds[0] and case in served:
                child = tracker.child(case.variant)
                log_ranker(child, ranker, catalogs[case], interactions, name=f"ranker-seed{seed}")
            frames.append(training.measured(case, ranker, groups, seed))
    return pd.concat(frames, ignore_index=True)


def _shown(
    policies: list[Drawn],
    images: dict[str, ImageSet],
    family: ModelFamily,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker | None,
) -> list[tuple[str, pd.DataFrame]]:
    """Return each log in which people chose by a generator's pictures: its name and the metrics of lists."""
    from recsim_gen.experiments.simulation.shown_log import known_shop, shown_log, shown_values
    from recsim_gen.experiments.simulation.world import open_world

    if "shown" not in options.world:
        return []
    shop = known_shop(dataset)
    world = open_world(None, dataset, models=family, device=options.place)
    results.fingerprints["world"] = world.fingerprint
    results.note(
        f"pictures are read by the world's reader; {world.misread():.1%} of real ones are read wrong"
    )

    def log_of(name: str, leakage: str, items: NDArray[Any]) -> Interactions:
        return shown_log(shop, world, images[f"{name}_{leakage}"], items)

    def curve(seed: int, case: Case) -> OnEpoch:
        assert tracker is not None
        prefix = f"shown/{case.prefix}seed_{seed}/"
        return partial(tracker.child(case.variant).log_epoch, prefix=prefix)

    return list(
        shown_values(
            options.ranker,
            catalog,
            policies,
            options.fraction,
            log_of,
            seeds=options.seeds,
            cold=options.cold,
            device=options.place,
            on_epoch=None if tracker is None else curve,
        )
    )


def _publish(
    values: pd.DataFrame,
    shown: list[tuple[str, pd.DataFrame]],
    policies: list[Drawn],
    images: dict[str, ImageSet],
    dataset: Dataset,
    options: Options,
    results: Results,
    tracker: Tracker,
) -> None:
    """Add rows and verdicts, call `report`, and log the metrics of every user to MLflow."""
    import pandas as pd

    from analysis.published import load_published
    from analysis.table2_text import published_markdown
    from recsim_gen.core.report import report
    from recsim_gen.core.table import table
    from recsim_gen.experiments.auxiliary.comparison import conclude
    from recsim_gen.experiments.auxiliary.training import METRICS

    if len(values):
        conclude(values, dataset.people, options.aggregate, results)
    for name, of_log in shown:
        own = f"{name}: own pictures"
        conclude(of_log, dataset.people, options.aggregate, results, world="shown", original=own)
    body = None
    if options.published:
        body = table(results, metrics=METRICS) + "\n\n" + published_markdown(load_published(), ["auxiliary"])
    draw = partial(_draw, results, policies, images, dataset, options.output)
    report(results, tracker, options.output, draw=draw, metrics=METRICS, body=body)
    every = [values, *(of_log.assign(log=name) for name, of_log in shown)]
    tracker.run.log_table("users", pd.concat(every, ignore_index=True))


def _draw(
    results: Results,
    policies: list[Drawn],
    images: dict[str, ImageSet],
    dataset: Dataset,
    output: Path,
) -> list[Path]:
    """Draw the differences by the share replaced, and a sheet of first pictures per generator and policy."""
    from analysis.auxiliary_figures import fraction_curves
    from analysis.auxiliary_sheet import replaced_sheet

    title = f"Do other pictures make a better recommender? ({dataset.name})"
    paths = []
    for world in dict.fromkeys(row["world"] for row in results.rows):
        rows = [row for row in results.rows if row["world"] == world]
        name = "auxiliary" if world == "own" else f"auxiliary_{world}"
        by = "" if world == "own" else ", chosen by what was shown"
        paths += fraction_curves(replace(results, rows=rows), output / name, title=title + by)
    for name, drawn in images.items():
        generator, _, policy = name.rpartition("_")
        episodes = next(c.episodes for c, _ in policies if c.leakage == policy)
        paths.append(replaced_sheet(drawn, episodes, dataset, generator, output / f"pictures_{name}.png"))
    return paths


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
