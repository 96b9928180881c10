"""Runs read back from MLflow: their results and logged files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from recsim_gen.core import results as results_of
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.results import Results
from recsim_gen.core.tracking_names import TRAINING

if TYPE_CHECKING:
    from recsim_gen.core.tracking import MlflowClient

SOURCE = "mlflow.source.name"
PARENTS = f"tags.`{SOURCE}` LIKE 'recsim_gen.%'"
"""Filter of `search_runs` for parent runs: child runs have no source."""

SHOWN = (".svg", ".png", ".jpg", ".jpeg", ".md")
"""Suffixes of files that a page can show."""


@dataclass(frozen=True)
class Curve:
    """A training curve by step or epoch.

    ``run`` is the variant that was trained, "" for the parent run; ``training`` distinguishes several
    trainings (``seed_0``), "" if there is only one; ``points`` are (step, value).
    """

    run: str
    training: str
    metric: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class TrackedRun:
    """One finished run of a command.

    ``files`` are the figures, sheets and texts logged with it or with its variants, as (name, content);
    ``others`` the names of files that a page cannot show; ``curves`` the curves of all trainings.
    """

    id: str
    command: str
    started: datetime
    results: Results
    files: tuple[tuple[str, bytes], ...]
    others: tuple[str, ...]
    curves: tuple[Curve, ...] = ()


def latest_runs(client: MlflowClient) -> list[str]:
    """Return the id of each command's latest finished run with results, oldest first.

    Raises SettingError if there is none.
    """
    runs: list[Any] = []
    only = f"{PARENTS} and attributes.status = 'FINISHED'"
    for experiment in client.search_experiments():
        newest = client.search_runs([experiment.experiment_id], only, order_by=["attributes.start_time DESC"])
        runs += islice((run for run in newest if _has_results(client, run)), 1)
    if not runs:
        raise SettingError("this store has no finished run of recsim-gen: run a command first")
    return [run.info.run_id for run in sorted(runs, key=lambda run: run.info.start_time)]


def _has_results(client: MlflowClient, run: Any) -> bool:
    """Return whether ``results.json`` was logged with the run."""
    return any(entry.path == results_of.FILE for entry in client.list_artifacts(run.info.run_id))


def read_run(client: MlflowClient, run_id: str, folder: str | Path) -> TrackedRun:
    """Download the run with this id; its files go into ``folder``.

    Raises SettingError for an id that is not in the store or not a parent run, and DataError for a run
    without results: it failed, or its results could not be logged.
    """
    from_store = _run(client, run_id)
    command = from_store.data.tags.get(SOURCE, "").removeprefix("recsim_gen.")
    if not command:
        parent = from_store.data.tags.get("mlflow.parentRunId")
        hint = f": it is a variant of {parent}, name that run" if parent else ""
        raise SettingError(f"--runs must name runs of our commands, {run_id} is none{hint}")
    names = list(_files(client, run_id))
    if results_of.FILE not in names:
        remedy = "Was it killed, or MLflow out of reach when it ended? Run the command again"
        raise DataError(f"run {run_id} ({from_store.info.status}) has no results.json", remedy=remedy)
    results = results_of.load(client.download_artifacts(run_id, results_of.FILE, str(_made(folder, run_id))))
    children = client.search_runs(
        [from_store.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time"]
    )
    shown: list[tuple[str, bytes]] = []
    others: list[str] = []
    curves: list[Curve] = []
    for run in (from_store, *children):
        variant = "" if run is from_store else str(run.info.run_name)
        prefix = variant and f"{variant}/"
        curves += _curves(client, run, variant)
        for name in _files(client, run.info.run_id):
            if PurePosixPath(name).suffix.lower() in SHOWN:
                path = client.download_artifacts(run.info.run_id, name, str(_made(folder, run.info.run_id)))
                shown.append((prefix + name, Path(path).read_bytes()))
            elif name != results_of.FILE:
                others.append(prefix + name)
    started = datetime.fromtimestamp(from_store.info.start_time / 1000, tz=timezone.utc)
    return TrackedRun(run_id, command, started, results, tuple(shown), tuple(others), tuple(curves))


def _curves(client: MlflowClient, run: Any, variant: str) -> Iterator[Curve]:
    """Return the curves of a run, sorted by name."""
    for key in sorted(key for key in run.data.metrics if key.startswith(TRAINING)):
        history = client.get_metric_history(run.info.run_id, key)
        training, _, metric = key.removeprefix(TRAINING).rpartition("/")
        points = sorted({x.step: x.value for x in history if math.isfinite(x.value)}.items())
        if points:
            yield Curve(variant, training, metric.replace("_at_", "@"), tuple(points))


def _run(client: MlflowClient, run_id: str) -> Any:
    """Return the run with this id. Raises SettingError if it cannot be read."""
    try:
        return client.get_run(run_id)
    except Exception as error:  # an unknown id or a server that is down
        raise SettingError(f"--runs: no run {run_id!r} ({' '.join(str(error).split())[:200]})") from error


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    """Return the paths of all files of a run."""
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        else:
            yield entry.path


def _made(folder: str | Path, run_id: str) -> Path:
    """Create the folder for the files of a run."""
    path = Path(folder) / run_id
    path.mkdir(parents=True, exist_ok=True)
    return path
