"""Names of metrics, parameters and stores in MLflow; does not import mlflow."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recsim_gen.core.results import plain

TRAINING = "z_training/"
"""Prefix of training curves: MLflow sorts by name, so the numbers of the tables come first."""

_REMEDIES = (
    (
        r"experiment (\w+) must be in the 'active' state",
        r"It was deleted, perhaps in the page: MLFLOW_TRACKING_URI={uri} mlflow experiments restore "
        r"--experiment-id \1 brings it back, --tracking-uri names another store.",
    ),
    (
        r"run (\w+) must be in the 'active' state",
        r"It was deleted, perhaps in the page: MLFLOW_TRACKING_URI={uri} mlflow runs restore --run-id \1 "
        r"brings it back (mlflow experiments restore, if it went with its experiment).",
    ),
    (
        r"permission denied|error code 403",
        r"The server's default lets you read: ask the experiment's owner or the administrator for EDIT "
        r"(mlflow/README.md).",
    ),
    (
        r"not authenticated|error code 401",
        r"It requires a login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
    ),
    (
        r"database is locked",
        r"Another program holds the database: close it. For many commands at once start a server "
        r"(mlflow/README.md) and name it with --tracking-uri.",
    ),
    (
        r"No space left|disk is full|File too large|quota exceeded|disk I/O error",
        r"The disk is full: free some space, or name another place with --tracking-uri.",
    ),
    (
        r"",
        r"Check --tracking-uri: is the server up, the folder writable, the database of this MLflow version "
        r"(mlflow db upgrade URI)?",
    ),
)


def remedy(problem: str, uri: str) -> str:
    """Return what the user can do about an error of the store at ``uri``, judged by its message."""
    tried = ((re.search(pattern, problem, re.IGNORECASE), advice) for pattern, advice in _REMEDIES)
    return next(found.expand(advice).replace("{uri}", uri) for found, advice in tried if found)


def metric_key(name: str) -> str:
    """Return a valid MLflow key: ``recall_at_10`` for ``recall@10``; invalid characters become ``_``."""
    return re.sub(r"[^\w./ :-]", "_", name.replace("@", "_at_"))


def default_uri(output: str | Path) -> str:
    """Return the SQLite file beside the folder ``output``, which all runs under one root share."""
    return sqlite_uri(Path(output).resolve().parent / "mlflow.db")


def ui_command(uri: str) -> str:
    """Return the shell command that shows the runs, or the address if they are on a server."""
    path = sqlite_file(uri)
    if path is None:
        return uri
    mlflow = _near(Path(sys.executable).parent / "mlflow")
    return shlex.join([str(mlflow), "ui", "--backend-store-uri", sqlite_uri(_near(path))])


def artifact_root(uri: str, experiment: str) -> str | None:
    """Return the folder for an experiment's files: beside a SQLite file, else None (the server decides)."""
    path = sqlite_file(uri)
    return None if path is None else (path.resolve().parent / "mlartifacts" / experiment).as_uri()


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a ``sqlite:///`` store, None for another kind of store."""
    from sqlalchemy.engine import make_url

    database = make_url(uri).database if uri.startswith("sqlite:///") else None
    return Path(database) if database else None


def sqlite_uri(path: Path) -> str:
    """Return the address of a SQLite file, with ``?`` and ``%`` in its path escaped for SQLAlchemy."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def _near(path: Path) -> Path:
    """Return ``path`` relative to the working directory if it is inside it, else unchanged."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def whole_lines(text: str, most: int) -> str:
    """Return the first lines of ``text`` that fit into ``most`` characters, and a hint if some are cut."""
    if len(text) <= most:
        return text
    rest = "\n\n(more in results.json)"
    return text[: text.rindex("\n", 0, most - len(rest))] + rest


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return nested settings as (``a.b``, text) pairs."""
    for key, value in plain(tree).items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)
