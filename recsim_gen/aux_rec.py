"""Do generated images make a better recommender? Replace pictures, train again, compare. (RAGAR, RQ4.)"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import OnEpoch
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.datasets.image_sets import ImageSet
    from recsim_gen.experiments.auxiliary.training import Case, Drawn
    from recsim_gen.experiments.contenders import Contender
    from recsim_gen.models.family import ModelFamily

SHOWN = 24  # pictures on a sheet


def main(
    gen: tuple[str, ...] = ("none",),
    leakage: tuple[Literal["strict", "paper"], ...] = ("strict",),
    aggregate: Literal["mean", "latest", "vote"] = "mean",
    fraction: tuple[float, ...] = (1.0,),
    items: int = 0,
    each: int = 1,
    history: int = 5,
    cold: int = 5,
    placebo: Path | None = None,
    models: str = "embedded",
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    ranker: str = "micro",
    settings: dict[str, Any] | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    published: bool = False,
    output: Path = Path("runs/aux_rec"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Train a ranker on generated pictures in place of the items' own, and on controls, and compare.

    Every variant replaces the pictures of the same items, starts from the same weights, sees the same
    negatives and is tested on the same choices: original, each generator, placebo (another real picture),
    shuffled (pictures permuted among these items), mean_feature and noise. Pictures, generators and rankers
    are found again by their content; several processes share the work (on CPUs torchrun -m …).

    Parameters
    ----------
    gen
        Generators: ragar, pmg, ip_adapter, textual_inversion, sd, oracle, or module:Class; with settings
        as LABEL=NAME:SETTING=VALUE; none: the controls alone.
    leakage
        strict: pictures are drawn for training pairs alone; paper: for the test references, which tells
        the ranker the answer: its tables are marked leaky. Both: side by side.
    aggregate
        What becomes of several pictures of an item: mean of their features, the latest, or the one that
        is most like the others (vote).
    fraction
        Shares of the items to replace; those of a smaller share are among those of a larger.
    items
        Items to replace, drawn at random from those that have a picture and an episode; 0 is all.
    each
        Pictures of an item, for the latest of its episodes; 0 is one for each episode.
    history
        Least number of items before the reference of an episode that a picture is drawn for; RAGAR
        retrieves 5 of them.
    cold
        Items with at most so many training choices are told apart as cold.
    placebo
        Folder or tar of other real pictures of the items, <item id>.png; Boutique draws its own.
    models
        Family of models of the generators: embedded, paper, FOLDER or FILE.yaml.
    data
        What to run on: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.sequence_length 10.
    encoders
        Encoder of each modality, default the data's own: --encoders.image pixels.
    ranker
        What is trained: NAME or NAME:RECIPE (micro, lattice, vbpr).
    settings
        Settings of the ranker, each with a default of its own: --settings.epochs 50.
    seeds
        Seeds of training; the first one's ranker teaches the generators that learn from one.
    published
        Add the paper's numbers in a table of their own, to read beside; they do not compare.
    output
        Folder for results.json, the figure and sheets of pictures.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where encoders, rankers and generators run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker

    generators, family = _checked(config)  # a wrong setting is told before any data is read
    dataset, catalog, results = prepare("aux_rec", config)
    main_process = this_process().is_main_process
    store: dict[str, Any] = {"output": output, "uri": tracking_uri}
    with Tracker("aux_rec", config, **store) if main_process else nullcontext() as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
        policies, pictures = _policies(generators, family, dataset, catalog, config, results, tracker)
        values = _values(policies, dataset, catalog, config, results, tracker)
        if tracker is not None:
            _publish(values, pictures, dataset, config, results, tracker)


def _checked(config: dict[str, Any]) -> tuple[list[Contender], ModelFamily]:
    """The generators and their models; errors for what is unknown, out of range or told twice."""
    from recsim_gen.artifacts.trained_rankers import make_ranker
    from recsim_gen.core.errors import SettingError
    from recsim_gen.datasets.image_sets import refuse_empty
    from recsim_gen.experiments.auxiliary.drawing import asked_for
    from recsim_gen.models.family import open_family

    for name in ("leakage", "fraction", "seeds"):
        if len(set(config[name])) < len(config[name]):
            raise SettingError(f"{name}: each is wanted once, got {' '.join(map(str, config[name]))}")
    for share in config["fraction"]:
        if not 0 < share <= 1:
            raise SettingError(f"fraction must be above 0 and at most 1, got {share:g}")
    for name in ("items", "each", "history", "cold"):
        if config[name] < 0:
            raise SettingError(f"{name} must be 0 or more, got {config[name]}")
    make_ranker(config["ranker"], config["settings"])
    if config["placebo"] is not None:
        refuse_empty(config["placebo"])
    family = open_family(config["models"])
    return asked_for(config["gen"], family), family


def _policies(
    asked: list[Contender],
    family: ModelFamily,
    dataset: Dataset,
    catalog: Catalog,
    config: dict[str, Any],
    results: Results,
    tracker: Tracker | None,
) -> tuple[list[Drawn], dict[str, ImageSet]]:
    """For each policy the items to replace and the features of all pictures for them; and the pictures."""
    from recsim_gen.artifacts.trained_rankers import chosen_encoders, trained_ranker
    from recsim_gen.core.errors import DataError
    from recsim_gen.datasets.image_sets import read_images
    from recsim_gen.experiments.auxiliary import drawing
    from recsim_gen.experiments.auxiliary.conditions import conditions
    from recsim_gen.experiments.auxiliary.features import PLACEBO
    from recsim_gen.judging.queries import MODALITY

    if MODALITY not in catalog.features:
        raise DataError(
            f"pictures are replaced: data with pictures and an encoder of them is wanted, {dataset.name} has "
            f"features of {sorted(catalog.features)}",
            remedy="Name other --data, or give --encoders.image",
        )
    size = {name: config[name] for name in ("items", "each", "history")}
    chosen = [conditions(dataset, policy, **size) for policy in config["leakage"]]  # before any training
    how: dict[str, Any] = {"seed": config["seeds"][0], "device": config["device"]}
    spec = config["ranker"], config["settings"], catalog, dataset.interactions
    teacher = partial(trained_ranker, *spec, **how)
    generators = drawing.opened(
        asked, dataset, catalog, teacher=teacher, family=family, tracker=tracker, **how
    )
    results.fingerprints.update({f"generator {name}": g.fingerprint for name, g in generators.items()})
    encoder = chosen_encoders(dataset, config)[MODALITY]
    policies: list[Drawn] = []
    pictures: dict[str, ImageSet] = {}
    for c in chosen:
        sets = {n: drawing.drawn_images(g, dataset, c, seed=how["seed"]) for n, g in generators.items()}
        if config["placebo"] is not None:
            sets[PLACEBO] = read_images(config["placebo"], dataset)
        encoded: dict[str, Any] = {"rule": config["aggregate"], "device": config["device"]}
        policies.append((c, drawing.drawn_features(c, dataset, sets, encoder, results, **encoded)))
        pictures |= {f"{name}_{c.leakage}": images for name, images in sets.items()}
    return policies, pictures


def _values(
    policies: list[Drawn],
    dataset: Dataset,
    catalog: Catalog,
    config: dict[str, Any],
    results: Results,
    tracker: Tracker | None,
) -> pd.DataFrame:
    """What every user's list is worth under every case and seed; empty but on the main process."""
    import pandas as pd

    from recsim_gen.artifacts.serving import log_ranker
    from recsim_gen.experiments.auxiliary import training
    from recsim_gen.experiments.auxiliary.features import ORIGINAL

    interactions = dataset.interactions
    groups = training.by_popularity(interactions, config["cold"])
    counts = ", ".join(f"{int((g.split == 'test').sum()):,} {n[1:]}" for n, g in groups.items() if n)
    results.note(f"test choices: {counts}; cold items have at most {config['cold']} training choices")

    def curve(seed: int, case: Case) -> OnEpoch:
        assert tracker is not None
        prefix = (
            f"training/{case.prefix}seed_{seed}/"  # below the table's numbers, which are looked for first
        )
        return partial(tracker.child(case.variant).log_epoch, prefix=prefix)

    frames = [pd.DataFrame()]
    for seed in config["seeds"]:
        catalogs = training.cases(catalog, policies, config["fraction"], seed)
        how: dict[str, Any] = {"seed": seed, "device": config["device"]}
        how["on_epoch"] = None if tracker is None else partial(curve, seed)
        served = [c for c in catalogs if c.fraction in (0, max(config["fraction"]))]
        served = [c for c in served if c.leakage in ("", config["leakage"][0])]  # one of each variant
        rankers = training.retrained(config["ranker"], config["settings"], catalogs, interactions, **how)
        for case, ranker in rankers:
            if case.variant == ORIGINAL:
                results.fingerprints[f"ranker seed {seed}"] = ranker.fingerprint
            if tracker is not None and seed == config["seeds"][0] and case in served:
                run = tracker.child(case.variant)
                log_ranker(run, ranker, catalogs[case], interactions, name=f"ranker-seed{seed}")
            about: dict[str, Any] = {
                "variant": case.variant,
                "leakage": case.leakage,
                "fraction": case.fraction,
            }
            frames.append(training.measured(ranker, groups).assign(seed=seed, **about))
    return pd.concat(frames, ignore_index=True)


def _publish(
    values: pd.DataFrame,
    pictures: dict[str, ImageSet],
    dataset: Dataset,
    config: dict[str, Any],
    results: Results,
    tracker: Tracker,
) -> None:
    """Rows and verdicts, what `report` does, and the numbers of every user to MLflow."""
    from analysis.published import load_published
    from analysis.table2_text import published_markdown
    from recsim_gen.core.report import report
    from recsim_gen.core.table import table
    from recsim_gen.datasets.episodes import people_of
    from recsim_gen.experiments.auxiliary.comparison import conclude
    from recsim_gen.experiments.auxiliary.training import METRICS

    output = config["output"]
    conclude(values, people_of(dataset), config["aggregate"], results)
    body = None
    if config["published"]:
        body = table(results, metrics=METRICS) + "\n\n" + published_markdown(load_published(), ["auxiliary"])
    draw = partial(_draw, results, pictures, dataset, output)
    report(results, tracker, output, draw=draw, metrics=METRICS, body=body)
    tracker.run.log_table("users", values)


def _draw(results: Results, pictures: dict[str, ImageSet], dataset: Dataset, output: Path) -> list[Path]:
    """The fraction curve, and a sheet of the first pictures of each generator and policy."""
    from analysis.auxiliary_figures import fraction_curves
    from analysis.sheets import contact_sheet

    title = f"Do other pictures make a better recommender? ({dataset.name})"
    paths = fraction_curves(results, output / "auxiliary", title=title)
    titles, ids = dataset.catalog.titles, dataset.catalog.item_ids
    for name, images in pictures.items():
        first = images.item[:SHOWN].tolist()
        shown = [images.pictures.read(row) for row in range(len(first))]
        labels = [titles[item] or ids[item] for item in first]
        paths.append(contact_sheet(shown, labels, 8, output / f"pictures_{name}.png"))
    return paths


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
