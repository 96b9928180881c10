"""Look at data before anything is trained on it: check it, show it, convert it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset


def check(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    sample: int | None = None,
    output: Path = Path("runs/data_check"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> int:
    """Say whether data can be used; count what is in it, beside what is published.

    Looks for broken, missing and equal pictures, empty captions, texts of another encoding and leaks,
    and estimates memory. Exit code 0: usable, perhaps with remarks; 1: not usable, and why in one
    line; 2: a mistake on the command line.

    Parameters
    ----------
    data
        What to check: NAME or NAME:PATH (boutique, movielens:DIR, unified:DIR); also the first word.
    data_settings
        Settings of the loader: --data-settings.split by-user.
    sample
        Pictures to decode, drawn at random; default all.
    output
        Folder for results.json.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.core.errors import DataError
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.checks import examine
    from recsim_gen.datasets.opening import open_data

    results = Results("data_check", config)
    try:
        dataset = open_data(data, **(data_settings or {}))
        found = examine(dataset, sample=sample)
    except DataError as error:
        results.verdict("usable", f"no: {error}")
        results.write(output)
        sys.stderr.write(f"not usable: {error}\n")
        return 1
    results.verdict("usable", found.verdict)
    _rows(results, "here", found.counts)
    _compare(results, dataset.name, found.counts)
    for note in (*dataset.notes, *found.remarks):
        results.note(note)
    _publish(dataset, results, config, tall=True)
    if found.problems:
        sys.stderr.write(f"not usable: {'; '.join(found.problems)}\n")
    return 1 if found.problems else 0


def show(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    items: int = 30,
    episodes: int = 5,
    seed: int = 0,
    output: Path = Path("runs/data_show"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Draw a contact sheet: some items, and some episodes with history and reference, captions beneath.

    Parameters
    ----------
    data
        What to show: NAME or NAME:PATH (boutique, movielens:DIR, unified:DIR); also the first word.
    data_settings
        Settings of the loader: --data-settings.sequence_length 10.
    items
        Items to show.
    episodes
        Episodes to show.
    seed
        Which are drawn.
    output
        Folder for data.png and results.json.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from analysis.data_sheet import data_sheet
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data

    if min(items, episodes) < 0 or items + episodes == 0:
        raise SettingError(f"items and episodes must be 0 or more, one of them 1, got {items} and {episodes}")
    dataset = open_data(data, **(data_settings or {}))
    results = Results("data_show", config)
    for what, wanted, n in (
        ("items", items, len(dataset.catalog)),
        ("episodes", episodes, len(dataset.episodes)),
    ):
        results.row(variant=what, metric="shown", value=min(wanted, n), n=n)
    for note in dataset.notes:
        results.note(note)
    draw = partial(data_sheet, dataset, items=items, episodes=episodes, rng=Rng(seed).for_("show"))
    _publish(dataset, results, config, draw=lambda: [draw(output / "data.png")])


def convert(
    from_: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    to: str = "unified",
    output: Path = Path("runs/data_convert"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Write data in another layout, whole or not at all, and read it back to count what came over.

    Parameters
    ----------
    from_
        What to convert: NAME or NAME:PATH (boutique, movielens:DIR, unified:DIR); also the first word.
    data_settings
        Settings of the loader: --data-settings.split by-user.
    to
        Layout: unified, recbole, pmg-movieposter, pmg-pog, pmg-ser30k.
    output
        New folder to write, results.json with it; one that convert wrote is replaced.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    config["from"] = config.pop("from_")
    from recsim_gen.core.registry import DATASETS, WRITERS, resolve
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.checks import counts
    from recsim_gen.datasets.opening import open_data

    write = resolve(to, WRITERS, "layout")
    _refuse_foreign(output)
    dataset = open_data(from_, **(data_settings or {}))
    results = Results("data_convert", config)
    _rows(results, "from", counts(dataset))
    for note in write(dataset, output) or ():  # what the layout has no place for
        results.note(note)
    results.write(output)  # it is ours to replace, even if it cannot be read back
    if to in DATASETS:
        _rows(results, "to", counts(open_data(f"{to}:{output}")))
    for note in dataset.notes:
        results.note(note)
    _publish(dataset, results, config, tall=True)


def _rows(results: Results, variant: str, counts: dict[str, int]) -> None:
    for metric, value in counts.items():
        results.row(variant=variant, metric=metric, value=value)


def _compare(results: Results, name: str, counts: dict[str, int]) -> None:
    """What is published about this data, as columns beside its own counts and a sentence for each."""
    from recsim_gen.datasets.published import published

    for known in published(name, counts):
        _rows(results, known.name, {k: v for k, v in known.counts.items() if k in counts})
        differences = "; ".join(known.differences(counts))
        remark = f" ({known.remark})" if differences and known.remark else ""
        results.verdict(f"{known.name} [{known.source}]", (differences or "as published") + remark)


def _refuse_foreign(output: Path) -> None:
    """Raise SettingError for a folder that is there, is not empty, and was not written by convert."""
    from recsim_gen.core.errors import DataError, SettingError
    from recsim_gen.core.results import FILE, load

    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        if (output / FILE).is_file() and load(output).command == "data_convert":
            return
    except DataError:  # it is somebody else's results.json
        pass
    raise SettingError(f"--output must be a new folder, {output} is there: move it, or give another")


def _publish(dataset: Dataset, results: Results, config: dict[str, Any], **how: Any) -> None:
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    results.fingerprints["data"] = dataset.fingerprint
    output = config["output"]
    with Tracker(results.command, config, output=output, uri=config["tracking_uri"]) as tracker:
        log_data(tracker, dataset, context=results.command)
        report(results, tracker, output, digits=0, **how)


if __name__ == "__main__":
    raise SystemExit(run({"check": check, "show": show, "convert": convert}))
