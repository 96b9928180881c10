"""What things are called in MLflow: metrics, parameters, stores. Imports nothing of it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recsim_gen.core.results import plain

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
        r"It asks who you are: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
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
    """What the reader can do about an error of the store at ``uri``, by the error's words."""
    tried = ((re.search(pattern, problem, re.IGNORECASE), advice) for pattern, advice in _REMEDIES)
    return next(found.expand(advice).replace("{uri}", uri) for found, advice in tried if found)


def metric_key(name: str) -> str:
    """``recall@10`` as MLflow takes it: ``recall_at_10``; other characters it refuses become ``_``."""
    return re.sub(r"[^\w./ :-]", "_", name.replace("@", "_at_"))


def default_uri(output: str | Path) -> str:
    """The SQLite file beside the folder ``output``, so that all runs under one root share it."""
    return _sqlite_uri(Path(output).resolve().parent / "mlflow.db")


def ui_command(uri: str) -> str:
    """What to type in a shell to look at the runs; the address if they are on a server."""
    path = sqlite_file(uri)
    if path is None:
        return uri
    mlflow = _near(Path(sys.executable).parent / "mlflow")
    return shlex.join([str(mlflow), "ui", "--backend-store-uri", _sqlite_uri(_near(path))])


def artifact_root(uri: str, experiment: str) -> str | None:
    """Where files of an experiment go: beside a SQLite file; elsewhere the server decides (None)."""
    path = sqlite_file(uri)
    return None if path is None else (path.resolve().parent / "mlartifacts" / experiment).as_uri()


def sqlite_file(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` store, None for another kind."""
    from sqlalchemy.engine import make_url

    database = make_url(uri).database if uri.startswith("sqlite:///") else None
    return Path(database) if database else None


def _sqlite_uri(path: Path) -> str:
    """The store in a file: ``?`` and ``%`` in its path are written so that SQLAlchemy reads the path."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def _near(path: Path) -> Path:
    """``path`` from here, where it lies below; else as it is."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def whole_lines(text: str, most: int) -> str:
    """The first lines of ``text`` that fit into ``most`` characters; if not all do, where the rest is."""
    if len(text) <= most:
        return text
    rest = "\n\n(more in results.json)"
    return text[: text.rindex("\n", 0, most - len(rest))] + rest


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (``a.b``, text)."""
    for key, value in plain(tree).items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)
