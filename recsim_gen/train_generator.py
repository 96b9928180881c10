"""Train a generator on the histories of a data set, so that it can draw for the people in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator, Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.models.family import ModelFamily

SHOWN = 6  # episodes on the sheet


def main(
    gen: str | None = None,
    settings: dict[str, Any] | None = None,
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    models: str = "embedded",
    ranker: Path | None = None,
    judge: Path | None = None,
    force: bool = False,
    episodes: int = 0,
    seed: int = 0,
    output: Path = Path("runs/train_generator"),
    device: str | None = None,
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Train a generator, and keep it as OUTPUT/generator for generate --checkpoint.

    It learns from training choices alone. What was trained before is found again, and a killed training
    goes on where it was. Several processes (accelerate launch -m …, on CPUs torchrun -m …) share the
    batches of each step: give --settings.accumulate, as many batches as there are processes or more.

    Parameters
    ----------
    gen
        textual_inversion, ip_adapter, pmg, ragar, or module:Class.
    settings
        Settings of the generator, each with a default of its own: --settings.steps 200.
    data
        Whose histories: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.captions FILE.
    encoders
        Encoder of each modality, as the ranker was trained with.
    models
        Family of models: embedded, paper, FOLDER or FILE.yaml.
    ranker
        Folder of the ranker that gives the reward, for those that learn from one; default MICRO, trained
        here and tested for looking at images.
    judge
        Folder of a ranker that gives no reward: where its score falls, training stops.
    force
        Take a ranker even if it was found that it does not use images.
    episodes
        Training episodes to learn from, drawn at random with the seed; 0 is all.
    seed
        Of weights, batches and noise.
    output
        Folder for the generator, results.json and a sheet of first pictures.
    device
        Where models run; default Accelerate's choice, a GPU if there is one.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker

    process = this_process()
    family, made, notes = _check(config)
    with process.main_process_first():  # the others find what it has encoded and trained
        dataset, catalog, results = _open(made, config)
        how = {**_rankers(made, dataset, catalog, results, config), "seed": seed}
    for note in notes:
        results.note(note)
    training = _episodes(dataset, config, results)
    store: dict[str, Any] = {"output": output, "uri": tracking_uri}
    with Tracker("train_generator", config, **store) if process.is_main_process else nullcontext() as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
        generator = _train(catalog, training, how, family, tracker, config)
        if tracker is not None:
            _keep(generator, catalog, training, how, results, config)
            _publish(generator, dataset, results, tracker, config)


def _check(config: dict[str, Any]) -> tuple[ModelFamily, Generator, list[str]]:
    """Models, the untrained generator, and what is known of the rankers; errors before data is read."""
    from recsim_gen.artifacts.trained_generators import make_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import check_batches, this_process
    from recsim_gen.core.registry import GENERATORS
    from recsim_gen.judging.reward_ranker import check_rankers
    from recsim_gen.models.family import open_family

    if config["gen"] is None:
        raise SettingError(f"give --gen. Generators: {', '.join(GENERATORS)}")
    if config["episodes"] < 0:
        raise SettingError(f"episodes must be 0 (all) or more, got {config['episodes']}")
    family = open_family(config["models"])
    made = make_generator(config["gen"], config["settings"], models=family, device=config["device"])
    if not made.learns:
        raise SettingError(f"{config['gen']} has nothing to learn: draw with python -m recsim_gen.generate")
    check_batches(getattr(made.config, "accumulate", 1), this_process().num_processes)
    family.require(*getattr(made, "roles", ()))
    return family, made, check_rankers(config["ranker"], config["judge"], force=config["force"])


def _open(made: Generator, config: dict[str, Any]) -> tuple[Dataset, Catalog, Results]:
    """The data; with features only where a ranker wants them."""
    from recsim_gen.artifacts.trained_rankers import prepare
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data

    if getattr(made, "uses_ranker", False):
        return prepare("train_generator", {**config, "device": config["device"] or "cpu"})
    dataset = open_data(config["data"], **(config["data_settings"] or {}))
    results = Results("train_generator", config, {"data": dataset.fingerprint})
    for note in dataset.notes:
        results.note(note)
    return dataset, dataset.catalog, results


def _rankers(
    made: Generator, dataset: Dataset, catalog: Catalog, results: Results, config: dict[str, Any]
) -> dict[str, Ranker]:
    """``ranker`` and ``judge``, for a generator that learns from one."""
    from recsim_gen.artifacts.checkpoints import load_ranker
    from recsim_gen.judging.reward_ranker import reward_ranker

    if not getattr(made, "uses_ranker", False):
        if config["ranker"] is not None or config["judge"] is not None:
            results.note(f"{made.name} does not learn from rankers: --ranker and --judge play no part")
        return {}
    chosen, device = dataset.interactions, config["device"] or "cpu"
    how: dict[str, Any] = {"seed": config["seed"], "force": config["force"], "device": device}
    folder = config["output"] / "ranker"
    found = {"ranker": reward_ranker(config["ranker"], folder, catalog, chosen, results, **how)}
    if config["judge"] is not None:
        found["judge"] = load_ranker(config["judge"], catalog, chosen, device=device)
        results.fingerprints["judge"] = found["judge"].fingerprint
    return found


def _episodes(dataset: Dataset, config: dict[str, Any], results: Results) -> tuple[Episode, ...]:
    import numpy as np

    from recsim_gen.core.randomness import Rng
    from recsim_gen.datasets.episodes import training_episodes

    found, count = training_episodes(dataset), config["episodes"]
    if 0 < count < len(found):
        order = Rng(config["seed"]).for_("training episodes").numpy().permutation(len(found))
        found = tuple(found[row] for row in np.sort(order[:count]).tolist())
    results.note(f"{len(found):,} training episodes of {len({e.user for e in found}):,} users")
    return found


def _train(
    catalog: Catalog,
    episodes: Sequence[Episode],
    how: dict[str, Any],
    family: ModelFamily,
    tracker: Tracker | None,
    config: dict[str, Any],
) -> Generator:
    """Trained by all processes, or found."""
    from recsim_gen.artifacts.trained_generators import trained_generator
    from recsim_gen.core.processes import training_together

    more = {"settings": config["settings"], "models": family, "device": config["device"]}
    with training_together():
        return trained_generator(config["gen"], catalog, episodes, tracker=tracker, **more, **how)


def _keep(
    generator: Generator,
    catalog: Catalog,
    episodes: Sequence[Episode],
    how: dict[str, Any],
    results: Results,
    config: dict[str, Any],
) -> None:
    """In the output folder; and what the training told in the results."""
    from recsim_gen.artifacts.trained_generators import kept_generator
    from recsim_gen.artifacts.training_records import read_record

    generator.save(config["output"] / "generator")
    results.fingerprints["generator"] = generator.fingerprint
    results.note(f"draw with it: python -m recsim_gen.generate --checkpoint {config['output'] / 'generator'}")
    record = read_record(kept_generator(generator, catalog, episodes, **how))
    for metric, value in record.items():
        results.row(variant=generator.name, metric=metric, value=value, seed=config["seed"], n=len(episodes))


def _publish(
    generator: Generator,
    dataset: Dataset,
    results: Results,
    tracker: Tracker,
    config: dict[str, Any],
) -> None:
    from recsim_gen.core.report import report

    shown = ["seconds", "peak_memory", "loss"]
    metrics = [m for m in shown if any(row["metric"] == m for row in results.rows)]
    draw = partial(_sheet, generator, dataset, config)
    report(results, tracker, config["output"], draw=draw, metrics=metrics)


def _sheet(generator: Generator, dataset: Dataset, config: dict[str, Any]) -> list[Path]:
    """History, reference and picture of a few test episodes."""
    from analysis.case_study import Case, Cell, case_study
    from recsim_gen.artifacts.drawn_images import pictures_for
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.experiments.case_studies import pictures_in

    episodes, _ = chosen_episodes(dataset, SHOWN)
    if not episodes:
        return []
    folder = pictures_for(generator, dataset, episodes, seed=config["seed"])
    images = dataset.catalog.images

    def picture(row: int) -> Any:
        return images.read(row) if images is not None and images.present[row] else None

    cases = []
    for episode, drawn in zip(episodes, pictures_in(folder, dataset, episodes), strict=True):
        history = [(picture(row), False) for row in episode.history[-10:]]
        title = dataset.catalog.titles[episode.reference] or dataset.catalog.item_ids[episode.reference]
        name = f"{dataset.interactions.user_ids[episode.user]}: {title}"
        cases.append(Case(name, history, [Cell(picture(episode.reference)), Cell(drawn)]))
    return [case_study(cases, ["reference", generator.name], config["output"] / "pictures.png")]


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
