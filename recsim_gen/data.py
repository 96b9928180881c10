"""Look at data before anything is trained on it: check it, show it, convert it; or begin with an example."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.config import run
from recsim_gen.core.options import RunOptions
from recsim_gen.core.specs import DataSpec, RankerSpec

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset


_MAY_WANT_MENDING = re.compile(r"\b(without|not used|left (out|aside)|not in|of no|no|differ|lack)\b")
"""Matches notes of readers about problems; other notes count what is there."""

USUAL = 30
"""Number of epochs for which few steps are reported."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(RunOptions):
    """Options of data check.

    Parameters
    ----------
    data
        What to check: NAME or NAME:PATH (csv:DIR, boutique, movielens:DIR); also the first word.
    sample
        Number of pictures to decode, sampled at random; default all.
    """

    data: DataSpec = DataSpec("boutique")
    sample: int | None = None
    output: Path = Path("runs/data_check")


def check(options: CheckOptions) -> int:
    """Say whether data can be used; count what is in it, beside what is published.

    Finds broken, missing and equal pictures, empty captions, text in the wrong encoding and leaks, and
    estimates memory. Output: first what may need fixing, then what was found and what was left out. Exit code
    0: usable, possibly with remarks; 1: not usable, with the reason in one line; 2: a mistake on the command
    line.
    """
    from recsim_gen.artifacts.trained_rankers import few_steps
    from recsim_gen.core.errors import DataError
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.checks import examine
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.datasets.thin import thin_spots
    from recsim_gen.models.family import open_family

    results = Results("data_check", options.as_dict())
    try:
        dataset = open_data(options.data)
        examined = examine(dataset, sample=options.sample)
    except DataError as error:
        results.verdict("usable", f"no: {error}")
        results.write(options.output)
        sys.stderr.write(f"not usable: {error}\n")
        return 1
    results.verdict("usable", examined.verdict)
    _rows(results, "here", examined.counts)
    _compare(results, dataset.name, examined.counts)
    strange = open_family().unfamiliar(dataset.name)
    thin = (*thin_spots(dataset), *few_steps([RankerSpec("micro", {"epochs": USUAL})], dataset.interactions))
    counted = sorted(dataset.notes, key=lambda note: _MAY_WANT_MENDING.search(note) is None)
    for note in (*examined.remarks, *counted, *thin, *([strange] if strange else [])):
        results.note(note)
    _publish(dataset, results, options, tall=True, words_first=True)
    if examined.problems:
        sys.stderr.write(f"not usable: {'; '.join(examined.problems)}\n")
    return 1 if examined.problems else 0


@dataclass(frozen=True, kw_only=True)
class ShowOptions(RunOptions):
    """Options of data show.

    Parameters
    ----------
    data
        What to show: NAME or NAME:PATH (csv:DIR, boutique, movielens:DIR); also the first word.
    items
        Number of items to show.
    episodes
        Number of episodes to show.
    seed
        Seed of the random selection.
    """

    data: DataSpec = DataSpec("boutique")
    items: int = 30
    episodes: int = 5
    seed: int = 0
    output: Path = Path("runs/data_show")


def show(options: ShowOptions) -> None:
    """Draw a contact sheet: some items, and some episodes with history and reference, captions beneath.

    The file is OUTPUT/data.png.
    """
    from analysis.data_sheet import data_sheet
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data

    items, episodes = options.items, options.episodes
    if min(items, episodes) < 0 or items + episodes == 0:
        raise SettingError(f"items and episodes must be 0 or more, one of them 1, got {items} and {episodes}")
    dataset = open_data(options.data)
    results = Results("data_show", options.as_dict())
    for variant, most, n in (
        ("items", items, len(dataset.catalog)),
        ("episodes", episodes, len(dataset.episodes)),
    ):
        results.row(variant=variant, metric="shown", value=min(most, n), n=n)
    for note in dataset.notes:
        results.note(note)
    rng = Rng(options.seed).for_("show")
    draw = partial(data_sheet, dataset, items=items, episodes=episodes, rng=rng)
    _publish(dataset, results, options, draw=lambda: [draw(options.output / "data.png")])


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(RunOptions):
    """Options of data convert.

    Parameters
    ----------
    from_
        What to convert: NAME or NAME:PATH (csv:DIR, boutique, movielens:DIR); also the first word.
    to
        Layout: unified, recbole, csv, pmg-movieposter, pmg-pog, pmg-ser30k.
    output
        New folder to write, with results.json; one that convert wrote before is replaced.
    """

    from_: DataSpec = DataSpec("boutique")
    to: str = "unified"
    output: Path = Path("runs/data_convert")


def convert(options: ConvertOptions) -> None:
    """Write data in another layout, atomically, and read it back to count what was preserved."""
    from recsim_gen.core.registry import DATASETS, WRITERS, resolve
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.checks import counts
    from recsim_gen.datasets.opening import open_data

    to, output = options.to, options.output
    write = resolve(to, WRITERS, "layout")
    _refuse_foreign(output)
    dataset = open_data(options.from_)
    results = Results("data_convert", options.as_dict())
    _rows(results, "from", counts(dataset))
    for note in write(dataset, output) or ():  # what the layout cannot represent
        results.note(note)
    results.write(output)  # marks the folder as written by convert, even if it cannot be read back
    if to in DATASETS:
        _rows(results, "to", counts(open_data(f"{to}:{output}")))
    for note in dataset.notes:
        results.note(note)
    _publish(dataset, results, options, tall=True)


@dataclass(frozen=True, kw_only=True)
class NewOptions:
    """Options of data new.

    Parameters
    ----------
    output
        New folder to write; also the first word.
    quiet
        Print the path only.
    """

    output: Path = Path("shop")
    quiet: bool = False


def new(options: NewOptions) -> None:
    """Write a small example of the layout csv:DIR, with a README that describes each column.

    Replace its rows and pictures by your own; only the two tables are required.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.progress import say
    from recsim_gen.datasets.tables.example import write_example

    output = options.output
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise SettingError(f"must be a new folder, {output} exists: move it, or name another")
    write_example(output)
    say(f"Next: python -m recsim_gen.data check csv:{output}")
    sys.stdout.write(f"{output}\n")


def _rows(results: Results, variant: str, counts: dict[str, int]) -> None:
    for metric, value in counts.items():
        results.row(variant=variant, metric=metric, value=value)


def _compare(results: Results, name: str, counts: dict[str, int]) -> None:
    """Add the published counts of this data as columns, and a sentence for each source."""
    from recsim_gen.datasets.published import published

    for edition in published(name, counts):
        _rows(results, edition.name, {k: v for k, v in edition.counts.items() if k in counts})
        differences = "; ".join(edition.differences(counts))
        remark = f" ({edition.remark})" if differences and edition.remark else ""
        results.verdict(f"{edition.name} [{edition.source}]", (differences or "as published") + remark)


def _refuse_foreign(output: Path) -> None:
    """Raise SettingError for a non-empty folder that was not written by convert."""
    from recsim_gen.core.errors import DataError, SettingError
    from recsim_gen.core.results import FILE, load

    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        if (output / FILE).is_file() and load(output).command == "data_convert":
            return
    except DataError:  # results.json of something else
        pass
    raise SettingError(f"--output must be a new folder, {output} exists: move it, or name another")


def _publish(
    dataset: Dataset,
    results: Results,
    options: RunOptions,
    *,
    draw: Callable[[], Sequence[Path]] | None = None,
    tall: bool = False,
    words_first: bool = False,
) -> None:
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    results.fingerprints["data"] = dataset.fingerprint
    with Tracker.of(results.command, options) as tracker:
        log_data(tracker, dataset, context=results.command)
        report(results, tracker, options.output, draw=draw, digits=0, tall=tall, words_first=words_first)


if __name__ == "__main__":
    raise SystemExit(run({"check": check, "show": show, "convert": convert, "new": new}))
