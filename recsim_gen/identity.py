"""Whose is a generated image? It ranks real pictures of known identities, and its own should come first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.results import Results
    from recsim_gen.datasets.gallery import Gallery
    from recsim_gen.metrics.identity.queries import Queries


def main(
    gallery: Path | None = None,
    queries: tuple[str, ...] = (),
    encoder: tuple[str, ...] = ("efficientnet-lite0",),
    groups: tuple[str, ...] = (),
    identities: int | None = None,
    images: int | None = None,
    held_out: int = 10,
    ablate_images: tuple[int, ...] = (),
    ablate_identities: tuple[int, ...] = (),
    draws: int = 5,
    seed: int = 0,
    output: Path = Path("runs/identity"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Finer-Personalization Rank: mean average precision of images as queries to a gallery of identities.

    Each group of identities is a gallery of its own. Beside every number stand chance, which depends
    on the gallery's size alone, and "real": real pictures as queries, the most that the encoder can
    find. The published galleries: --groups wren tern sparrow --identities 5 --images 10 (CUB),
    --identities 15 --images 10 (Cars), --identities 10 --images 15 (re-identification).

    Parameters
    ----------
    gallery
        Real pictures: a folder or tar of [<group>/]<identity>/<picture>, a CSV (file, identity, perhaps
        group), or CUB-200-2011 as published.
    queries
        Generated images, PATH or NAME=PATH each: <identity>/<picture>, or a CSV (file, identity,
        perhaps method). Without any, real pictures alone are measured.
    encoder
        One or several: efficientnet-lite0, pixels, open_clip:MODEL/WEIGHTS, hf:NAME-OR-FOLDER.
    groups
        Groups of the gallery, default all.
    identities
        The largest so many identities of each group, default all.
    images
        Random pictures of each identity in the gallery, default all.
    held_out
        Real pictures of each identity that ask, beyond --images; without --images each picture asks the
        gallery without itself.
    ablate_images
        Also with so many pictures per identity: --ablate-images 1 2 5 10.
    ablate_identities
        Also with so many identities in the gallery: --ablate-identities 2 5 10.
    draws
        Random draws of each smaller gallery.
    seed
        Which pictures are drawn.
    output
        Folder for results.json, the figure, retrieved.png and per_image.csv.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where encoders run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    selected, sources, results = _open(config)
    per_image, draw = _measure(selected, sources, config, results)
    _publish(per_image, draw, results, config)


def _open(config: dict[str, Any]) -> tuple[Gallery, list[Queries], Results]:
    """The gallery asked for, the queries of its identities, and results with what is to be noted."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.gallery import load
    from recsim_gen.metrics.identity.matching import refuse_one_identity
    from recsim_gen.metrics.identity.queries import notes_on, read_queries, refuse_doubles

    if config["gallery"] is None:
        raise SettingError("give --gallery: a folder of <identity>/<picture>, a tar, a CSV, or CUB")
    _check_numbers(config)
    whole = load(config["gallery"])
    sources = [read_queries(source, whole) for source in config["queries"]]
    refuse_doubles(sources)
    most = None if config["images"] is None else config["images"] + config["held_out"]
    how: dict[str, Any] = {"identities": config["identities"], "images": most, "rng": Rng(config["seed"])}
    selected = whole.only(config["groups"], **how)
    refuse_one_identity(selected.identity, selected.group)
    results = Results("identity", config, {"data": selected.fingerprint})
    for note in selected.notes:
        results.note(note)
    kept = [source.of(selected) for source in sources]
    for name, before, after in zip(config["queries"], sources, kept, strict=True):
        results.fingerprints[f"queries {name}"] = after.pictures.fingerprint
        for note in notes_on(before, after, selected):
            results.note(f"{name}: {note}")
    return selected, kept, results


def _check_numbers(config: dict[str, Any]) -> None:
    from recsim_gen.core.errors import SettingError

    least = {
        "identities": 2,
        "images": 1,
        "held_out": 0,
        "draws": 1,
        "ablate_images": 1,
        "ablate_identities": 2,
    }
    for name, low in least.items():
        given = config[name] if isinstance(config[name], tuple) else (config[name],)
        if wrong := [value for value in given if value is not None and value < low]:
            raise SettingError(f"--{name.replace('_', '-')} must be {low} or more, got {wrong[0]}")


def _measure(
    gallery: Gallery, sources: list[Queries], config: dict[str, Any], results: Results
) -> tuple[pd.DataFrame, Callable[[], list[Path]]]:
    """A row per image and encoder, and what draws the figures."""
    import pandas as pd

    from analysis.identity_figures import identity_figure
    from analysis.retrieved import retrieved_sheet
    from recsim_gen.core.randomness import Rng
    from recsim_gen.metrics.identity import evaluation
    from recsim_gen.metrics.identity.queries import hold_out

    rng, output = Rng(config["seed"]), config["output"]
    split = hold_out(gallery, config["images"], rng)
    results.note(split.note)
    smaller = evaluation.Smaller(config["ablate_images"], config["ablate_identities"], config["draws"])
    tables, looked = [], []
    for spec in config["encoder"]:
        asked, found = evaluation.as_points(gallery, sources, split, spec, device=config["device"])
        looked.append((asked, found))
        tables.append(evaluation.measure(asked, found, results, encoder=spec, smaller=smaller, rng=rng))
        evaluation.judge_methods(results, spec)
    evaluation.measure_noise([*asked.values()][-1], found, results, rng=rng)

    def draw() -> list[Path]:
        title = "Whose is it? Average precision of images as queries to real pictures"
        figures = identity_figure(results, output / "identity", title=title)
        return [*figures, retrieved_sheet(*looked[0], output / "retrieved.png")]

    return pd.concat(tables, ignore_index=True), draw


def _publish(
    per_image: pd.DataFrame, draw: Callable[[], list[Path]], results: Results, config: dict[str, Any]
) -> None:
    """What `report` does, and the numbers of every image as CSV and to MLflow."""
    from recsim_gen.core.report import report
    from recsim_gen.core.store import atomic
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.metrics.identity.matching import METRICS

    output = config["output"]
    results.write(output)  # before a tracker is made: that may fail
    with atomic(output / "per_image.csv") as temporary:
        per_image.to_csv(temporary, index=False)
    with Tracker("identity", config, output=output, uri=config["tracking_uri"]) as tracker:
        about = per_image[["file", "identity", "group"]].drop_duplicates()
        tracker.run.log_dataset("gallery", about, results.fingerprints["data"])
        report(results, tracker, output, draw=draw, metrics=METRICS)
        tracker.run.log_table("per_image", per_image)


if __name__ == "__main__":
    raise SystemExit(run(main))
