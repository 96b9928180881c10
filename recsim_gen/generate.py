"""Draw pictures of reference items for the people of episodes, and keep them with where they come from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset

PICTURES = "images"  # folder of them, in the output folder
SHOWN = 24  # pictures on the sheet


def main(
    gen: str | None = None,
    checkpoint: Path | None = None,
    settings: dict[str, Any] | None = None,
    models: str = "embedded",
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    episodes: int = 0,
    each: int = 1,
    seed: int = 0,
    output: Path = Path("runs/generate"),
    device: str | None = None,
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Draw pictures; each is kept as it is drawn, so a killed run goes on where it was.

    Pictures lie in OUTPUT/images/seed0/<user id>/<item id>.png, for judge --images OUTPUT/images/seed0.
    Several processes share the work: accelerate launch -m recsim_gen.generate (on CPUs torchrun -m …).

    Parameters
    ----------
    gen
        original, placebo, oracle, sd, textual_inversion, ip_adapter, pmg, ragar, or module:Class.
    checkpoint
        Folder of a trained generator, for those that have to be trained.
    settings
        Settings of the generator, each with a default of its own: --settings.prompt "a {category}".
    models
        Family of models: embedded, paper, FOLDER or FILE.yaml.
    data
        What to draw for: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.captions FILE.
    episodes
        Test episodes to draw for, spread at random and the same for every generator; 0 is all.
    each
        Pictures of an episode, from noise of their own.
    seed
        Of the noise.
    output
        Folder for the pictures, results.json and a sheet of the first pictures.
    device
        Where models run; default Accelerate's choice, a GPU if there is one.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_generators import check_choice, ready_generator
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.family import open_family

    if each < 1 or episodes < 0:  # told before any data is read
        raise SettingError(f"each must be 1 or more and episodes 0 or more, got {each} and {episodes}")
    check_choice(gen, checkpoint, settings)
    family = open_family(models)
    dataset = open_data(data, **(data_settings or {}))
    generator = ready_generator(
        gen, checkpoint, dataset.catalog, settings=settings, models=family, device=device
    )
    fingerprints = {"data": dataset.fingerprint, "generator": generator.fingerprint}
    results = Results("generate", config, fingerprints)
    _draw(dataset, generator, config, results)
    if this_process().is_main_process:
        _publish(dataset, results, config)


def _draw(dataset: Dataset, generator: Generator, config: dict[str, Any], results: Results) -> None:
    """This process's share of the missing pictures, and the numbers of all into the results."""
    import time

    from accelerate.utils import gather_object

    from recsim_gen.artifacts.drawn_images import draw, missing, provenances, sweep
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.randomness import Rng

    process, folder = this_process(), config["output"] / PICTURES
    episodes, lacking = chosen_episodes(dataset, config["episodes"])
    if lacking:
        results.note(f"{lacking:,} episodes whose reference has no picture are left out")
    wanted = provenances(dataset, episodes, generator, n=config["each"], stream=config["seed"])
    if process.is_main_process:
        sweep(folder)
    todo = missing(folder, wanted)
    process.wait_for_everyone()  # nobody writes before all have looked
    share = list(todo.items())[process.process_index :: process.num_processes]
    start = time.monotonic()
    drawn = draw(folder, generator, dict(share), rng=Rng(config["seed"]))
    parts = gather_object([(drawn, time.monotonic() - start)])
    total, seconds = sum(count for count, _ in parts), sum(spent for _, spent in parts)
    numbers = {"pictures": len(wanted), "drawn": total, "seconds_each": seconds / total if total else None}
    for metric, value in numbers.items():
        results.row(variant=generator.name, metric=metric, value=value, n=len(episodes))


def _publish(dataset: Dataset, results: Results, config: dict[str, Any]) -> None:
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    output: Path = config["output"]
    results.note(f"pictures: {output / PICTURES}")
    with Tracker("generate", config, output=output, uri=config["tracking_uri"]) as tracker:
        log_data(tracker, dataset, context="generation")
        report(results, tracker, output, draw=partial(_sheet, dataset, output))


def _sheet(dataset: Dataset, output: Path) -> list[Path]:
    """The first pictures, each above its user and item."""
    from analysis.sheets import contact_sheet
    from recsim_gen.artifacts.drawn_images import first_pictures

    found = first_pictures(output / PICTURES, SHOWN)
    if not found:
        return []
    titles = dataset.catalog.titles
    row_of = dataset.catalog.row_of
    labels = [f"{made.user}: {titles[row_of[made.item]] or made.item}" for _, made in found]
    return [contact_sheet([picture for picture, _ in found], labels, 8, output / "pictures.png")]


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
