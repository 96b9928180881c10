"""Runs in MLflow: a parent run per command, a child run per variant, with equal metric keys.

This is the only module that imports mlflow. A failing tracker never loses a result: the first error becomes a
warning, and the rest of the run is not tracked::

    with Tracker.of("train_ranker", options) as tracker:
        ranker.fit(..., on_epoch=tracker.child("micro").log_epoch)
        ...
        report(results, tracker, output)  # core.report: results.json first, then tracker.publish

The store is ``--tracking-uri``, else ``MLFLOW_TRACKING_URI``, else the file ``mlflow.db`` beside the output
folder. MLflow's telemetry is off unless ``MLFLOW_DISABLE_TELEMETRY`` is set otherwise.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from filelock import FileLock

from recsim_gen import __version__
from recsim_gen.core import provenance
from recsim_gen.core.errors import MissingDependency, RecsimWarning, SettingError
from recsim_gen.core.results import Results
from recsim_gen.core.store import cache_dir, fingerprint
from recsim_gen.core.table import by_variant, common_metrics, table
from recsim_gen.core.tracking_names import (
    TRAINING,
    artifact_root,
    default_uri,
    flat,
    metric_key,
    remedy,
    sqlite_file,
    ui_command,
    whole_lines,
)

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient as MlflowClient  # noqa: PLC0414 - `tracked` takes the type from here

    from recsim_gen.core.options import RunOptions

__all__ = ["Run", "Tracker", "TrackingWarning", "open_client", "ui_command"]

PARAMS_A_CALL, METRICS_A_CALL, LONGEST_TAG = 100, 1000, 8000  # limits of MLflow's API
SECONDS_BETWEEN_CALLS = 5.0
PATIENCE = 300.0  # seconds to wait for another process that creates the same database

Method = TypeVar("Method", bound=Callable[..., Any])


class TrackingWarning(RecsimWarning):
    """Tracking failed; the run continues without it."""


def _guarded(method: Method) -> Method:
    """Decorate ``method``: its first error becomes a warning, and later calls do nothing."""

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        state: _Store = self.store
        if state.failed:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - results must survive whatever a tracker raises
            state.fail(error)
            return None

    return guarded  # type: ignore[return-value]


class _Store:
    """A client of one tracking store, with a flag whether it still works."""

    def __init__(self, uri: str) -> None:
        self.uri, self.failed = uri, False
        self._mlflow = _import_mlflow()

    @cached_property
    def client(self) -> MlflowClient:
        """The client; created on first use, because opening the database is the first step that can fail.

        Only one process at a time opens a SQLite file, since two that create its tables at once break it. The
        lock file is in the cache, so that nothing is left beside the store.
        """
        path = sqlite_file(self.uri)
        if path is None:
            return self._opened()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):  # another user's store, read-only
            return self._opened()
        lock = cache_dir() / "locks" / f"{fingerprint(str(path.resolve()))}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=PATIENCE):
            return self._opened()

    def _opened(self) -> MlflowClient:
        """Open the client; this creates the database if it does not exist."""
        client: MlflowClient = self._mlflow.MlflowClient(tracking_uri=self.uri)
        client.search_experiments(max_results=1)
        path, written = sqlite_file(self.uri), Path(self.uri.removeprefix("sqlite:///"))
        if (
            path is not None and written.parent != path.parent
        ):  # MLflow would create a folder with a literal %3F
            with contextlib.suppress(OSError):
                os.removedirs(written.parent)
        return client

    def fail(self, error: Exception) -> None:
        """Stop tracking, with one warning that says what failed and what to do."""
        self.failed = True
        text = " ".join(str(error).partition("[SQL:")[0].split())[:300]
        warnings.warn(
            f"MLflow at {self.uri} failed, the rest of this run is not tracked; results.json is complete "
            f"without it. ({type(error).__name__}: {text}) {remedy(text, self.uri)}",
            TrackingWarning,
            stacklevel=4,
        )

    def watch(self, run_id: str) -> Any:
        """Start logging CPU, memory, disk, network and GPU of this machine to a run, every ten seconds.

        Returns an object with ``finish``, or None if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false.
        """
        from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING as ENABLED
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        if ENABLED.is_set() and not ENABLED.get():
            return None
        monitor = SystemMetricsMonitor(run_id, tracking_uri=self.uri)
        monitor.start()
        return monitor


class Run:
    """One MLflow run: the parent, or the child run of one variant."""

    def __init__(self, store: _Store, run_id: str) -> None:
        self.store, self.id = store, run_id
        self._waiting: list[Any] = []
        self._last_call = time.monotonic()

    @_guarded
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log settings, nested ones as ``a.b``; MLflow truncates values at 6000 characters."""
        from mlflow.entities import Param

        entities = [Param(metric_key(key), value) for key, value in flat(params)]
        for i in range(0, len(entities), PARAMS_A_CALL):
            self.store.client.log_batch(self.id, params=entities[i : i + PARAMS_A_CALL])

    @_guarded
    def log_metrics(self, numbers: Mapping[str, float | None], step: int = 0) -> None:
        """Log numbers at a step, immediately; None is left out."""
        self._add(step, numbers)
        self.flush()

    @_guarded
    def log_epoch(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Log the numbers of an epoch, as the ``on_epoch`` of ``Ranker.fit``; sent every few seconds.

        Their names start with `TRAINING`, so that they are sorted below the numbers of the tables; ``prefix``
        (``"seed_1/"``) distinguishes the curves of several trainings in one run.
        """
        self._add(epoch, {TRAINING + prefix + name: value for name, value in numbers.items()})
        late = time.monotonic() - self._last_call > SECONDS_BETWEEN_CALLS
        if late or len(self._waiting) >= METRICS_A_CALL:
            self.flush()

    def _add(self, step: int, numbers: Mapping[str, float | None]) -> None:
        """Add numbers of a step to those waiting to be sent."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = {metric_key(k): float(v) for k, v in numbers.items() if v is not None}
        self._waiting += [Metric(key, value, now, step) for key, value in metrics.items()]

    @_guarded
    def flush(self) -> None:
        """Send the numbers that are waiting."""
        waiting, self._waiting, self._last_call = self._waiting, [], time.monotonic()
        for i in range(0, len(waiting), METRICS_A_CALL):
            self.store.client.log_batch(self.id, metrics=waiting[i : i + METRICS_A_CALL])

    @_guarded
    def log_file(self, path: str | Path, folder: str | None = None) -> None:
        """Log a file as an artifact: a figure, a grid of samples, ``results.json``."""
        self.store.client.log_artifact(self.id, str(path), folder)

    @_guarded
    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Log values per row (episode, judge…) as the artifact ``name.json``, shown on the run's page."""
        self.store.client.log_table(self.id, frame, f"{name}.json")

    @_guarded
    def log_dataset(
        self, name: str, frame: pd.DataFrame, fingerprint: str, context: str = "evaluation"
    ) -> None:
        """Log an input table as an MLflow dataset whose digest is our ``fingerprint``.

        MLflow stores the name, the digest, the columns and the number of rows, not the rows.
        """
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import Dataset, DatasetInput, InputTag

        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # a hint about integer columns with missing values: ours have none
            described = from_pandas(frame, name=name, digest=fingerprint).to_dict()
        tags = [InputTag("mlflow.data.context", context)]
        self.store.client.log_inputs(self.id, datasets=[DatasetInput(Dataset(**described), tags)])

    @_guarded
    def log_model(
        self,
        name: str,
        write: Callable[[Path], tuple[pd.DataFrame, pd.DataFrame]],
        *,
        loader: str,
        params: dict[str, Any] | None = None,
    ) -> None:
        """Log a model that ``mlflow.pyfunc.load_model`` can load.

        Parameters
        ----------
        name
            Name of the artifact.
        write
            Writes the model into an empty folder (``data/model`` in the logged files) and returns an example
            of input and output, which together with ``params`` gives the signature.
        loader
            Module whose ``_load_pyfunc`` loads the model from that folder.
        params
            Parameters of a prediction with their defaults.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, infer_signature
        from mlflow.pyfunc import save_model

        client = self.store.client
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints for models with their own environment
            folder, saved = Path(temporary) / "model", str(Path(temporary) / "saved")
            folder.mkdir()
            inputs, outputs = write(folder)
            experiment = client.get_run(self.id).info.experiment_id
            model = client.create_logged_model(experiment, name=name, source_run_id=self.id)
            described = Model(run_id=self.id, model_id=model.model_id)
            arguments: dict[str, Any] = {"loader_module": loader, "data_path": str(folder)}
            arguments |= {"mlflow_model": described, "signature": infer_signature(inputs, outputs, params)}
            requirements = [f"recsim-gen=={__version__}"]
            save_model(saved, input_example=inputs, pip_requirements=requirements, **arguments)
            client.log_model_artifacts(model.model_id, saved)
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(self.id, [LoggedModelOutput(model.model_id, step=0)])

    @_guarded
    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Set tags to search runs by; None is left out."""
        from mlflow.entities import RunTag

        known = [RunTag(metric_key(k), v) for k, v in tags.items() if v is not None]
        self.store.client.log_batch(self.id, tags=known)

    @_guarded
    def end(self, status: str = "FINISHED") -> None:
        """Send what is waiting and close the run as FINISHED, FAILED or KILLED."""
        self.flush()
        self.store.client.set_terminated(self.id, status)


class Tracker:
    """The runs of one invocation of a command, in the experiment with the command's name.

    Parameters
    ----------
    command
        Name of the command, and of the experiment.
    config
        Options of the command, logged as parameters of the parent run.
    output
        Output folder; the default store is beside it.
    uri
        Address of the store; None: ``MLFLOW_TRACKING_URI``, else ``default_uri(output)``.

    Raises
    ------
    MissingDependency
        If mlflow cannot be imported, or another package has its name.
    """

    def __init__(
        self, command: str, config: Mapping[str, Any], *, output: str | Path, uri: str | None = None
    ) -> None:
        self.command, self.config = command, config
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(output)
        self.store = _Store(self.uri)
        self.run = Run(self.store, "")
        self._experiment = ""
        self._monitor: Any = None
        self._children: dict[str, Run] = {}

    @classmethod
    def of(cls, command: str, options: RunOptions) -> Tracker:
        """Return a tracker for a command with these options."""
        return cls(command, options.as_dict(), output=options.output, uri=options.tracking_uri)

    def __enter__(self) -> Tracker:
        self._start()
        return self

    @_guarded
    def _start(self) -> None:
        """Start the parent run."""
        name = f"{self.command} {time.strftime('%Y-%m-%d %H:%M:%S')}"
        self._experiment = _experiment(self.store.client, self.uri, self.command)
        tags = {"mlflow.source.name": f"recsim_gen.{self.command}", "mlflow.source.type": "LOCAL"}
        self.run.id = self.store.client.create_run(self._experiment, tags=tags, run_name=name).info.run_id
        self.run.set_tags({"mlflow.source.git.commit": provenance.git_commit()})
        self.run.set_tags({f"version.{k}": v for k, v in provenance.versions().items()})
        self.run.log_params(self.config)
        self._monitor = self.store.watch(self.run.id)

    @_guarded
    def _stop_watching(self) -> None:
        """Stop logging system metrics."""
        if self._monitor is not None:
            self._monitor.finish()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop_watching()
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        for run in (*self._children.values(), self.run):
            run.end(status)

    @property
    def page(self) -> str:
        """Address of the parent run: on the server, or where ``ui_command`` serves a SQLite file."""
        host = "http://127.0.0.1:5000" if sqlite_file(self.uri) else self.uri.rstrip("/")
        return f"{host}/#/experiments/{self._experiment}/runs/{self.run.id}" if self.run.id else host

    def child(self, variant: str) -> Run:
        """Return the child run of this variant; repeated calls return the same run."""
        if variant not in self._children:
            self._children[variant] = Run(self.store, "")
            self._start_child(variant)
        return self._children[variant]

    @_guarded
    def _describe(self, results: Results, metrics: list[str]) -> None:
        """Write table, verdicts and a link to the comparison page into the parent run's description."""
        ids = quote(json.dumps([run.id for run in self._children.values()], separators=(",", ":")))
        link = f"#/compare-runs?runs={ids}&experiments={quote(json.dumps([self._experiment]))}"
        text = [f"[Compare the variants side by side]({link})", table(results, metrics=metrics)]
        text += [f"- {name}: {verdict}" for name, verdict in results.verdicts.items()]
        self.run.set_tags({"mlflow.note.content": whole_lines("\n\n".join(text), LONGEST_TAG)})

    @_guarded
    def _start_child(self, variant: str) -> None:
        """Start the child run of a variant."""
        tags = {"mlflow.parentRunId": self.run.id, "variant": variant, "command": self.command}
        info = self.store.client.create_run(self._experiment, tags=tags, run_name=variant).info
        self._children[variant].id = info.run_id
        self._children[variant].log_params({"variant": variant, **self.config})

    def publish(self, results: Results, files: Iterable[str | Path] = ()) -> None:
        """Log the results: each variant's numbers to its child run under equal keys, the rest to the parent.

        ``recall_at_10`` is the value over all seeds, ``recall_at_10_low`` and ``_high`` its 95% interval,
        ``seed_0/recall_at_10`` that of one seed. Metrics that only some variants have are only in the
        artifacts ``rows.json`` and ``results.json``. ``files`` become artifacts of the parent, whose
        description gets the table and a link to the comparison page.
        """
        self.run.set_tags({f"fingerprint.{k}": v for k, v in results.fingerprints.items()})
        metrics = common_metrics(results)
        for variant, numbers in by_variant(results, metrics).items():
            self.child(variant).log_metrics(numbers)
        if results.rows:
            self.run.log_table("rows", results.frame())
            self._describe(results, metrics)
        for path in files:
            self.run.log_file(path)


def open_client(uri: str) -> MlflowClient:
    """Return a client that reads the store at ``uri``. Raises SettingError if it cannot be reached."""
    path = sqlite_file(uri)
    if path is not None and not path.is_file():  # a client would create an empty one
        raise SettingError(
            f"no runs yet: {path} does not exist. Run a command first, or give its store: --tracking-uri"
        )
    store = _Store(uri)
    try:
        store.client.search_experiments(max_results=1)
    except Exception as error:
        text = " ".join(str(error).partition("[SQL:")[0].split())[:300]
        raise SettingError(f"MLflow at {uri} cannot be read: {text}. {remedy(text, uri)}") from error
    return store.client


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of the experiment; create it if needed, with its artifacts beside a SQLite file."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifact_root(uri, name))
        except MlflowException:  # another process created it first
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return experiment.experiment_id


def _import_mlflow() -> ModuleType:
    """Import mlflow, with telemetry and log messages off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
    )  # the default of 7 waits minutes for a dead server
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines per run
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one bar per file
    try:
        import mlflow
    except ImportError as error:
        raise MissingDependency("mlflow is not installed: pip install 'mlflow>=3.5,<4'") from error
    if not hasattr(mlflow, "set_experiment"):
        place = mlflow.__file__ or ", ".join(getattr(mlflow, "__path__", ()))
        raise MissingDependency(
            f"'import mlflow' must give the MLflow package, got {place}: a folder named mlflow hides it, "
            f"or it is missing. Run pip install 'mlflow>=3.5,<4', and delete any __init__.py in that folder"
        )
    for name in ("mlflow", "alembic"):  # a new database logs pages of migrations
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in (
        "mlflow.store.db.utils",
        "mlflow.system_metrics",
    ):  # errors that _Store.fail reports in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow
