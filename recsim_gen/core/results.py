"""Results of a command, in the public format ``results.json``.

Format: ``{"command", "config", "fingerprints", "git_commit", "versions", "seconds", "rows", "verdicts",
"notes"}``. ``rows`` is tidy, one dict per variant, metric and seed; ``verdicts`` maps a name to a sentence. A
number that is not finite is null.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core import provenance
from recsim_gen.core.errors import DataError
from recsim_gen.core.store import atomic, write_json

if TYPE_CHECKING:
    import pandas as pd

FILE = "results.json"
OPTIONS = "config.yaml"
KEYS = (
    "command",
    "config",
    "fingerprints",
    "git_commit",
    "versions",
    "seconds",
    "rows",
    "verdicts",
    "notes",
)
ROW_KEYS = ("variant", "metric", "seed", "value", "low", "high", "n")


@dataclasses.dataclass
class Results:
    """Rows, verdicts and notes of one run of a command, and its inputs.

    Parameters
    ----------
    command
        Name of the command, without the package.
    config
        All options of the run.
    fingerprints
        Hash of each input: ``data``, ``ranker``…
    """

    command: str
    config: Mapping[str, Any]
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    git_commit: str | None = dataclasses.field(default_factory=provenance.git_commit)
    versions: Mapping[str, str] = dataclasses.field(default_factory=provenance.versions)
    seconds: float | None = None
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    verdicts: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    _start: float = dataclasses.field(default_factory=time.monotonic, repr=False, compare=False)
    _known: set[str] = dataclasses.field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._known.update(map(_identity, self.rows))

    def row(
        self,
        *,
        variant: str,
        metric: str,
        value: float | None,
        seed: int | None = None,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        **more: Any,
    ) -> None:
        """Add one number.

        Parameters
        ----------
        variant, metric
            What was measured, and by which metric.
        value
            The number; None if it is not known.
        seed
            Seed of the training; None if pooled over seeds.
        low, high
            95% interval of ``value``.
        n
            Number of rows (episodes, users) that ``value`` averages.
        more
            Further columns (``scope``, ``judge``, ``recipe``, ``leakage``, ``k``).

        Raises
        ------
        DataError
            If low > high, or a number with the same keys was already added.
        """
        row = plain({"variant": variant, "metric": metric, "seed": seed, "value": value})
        row |= plain({"low": low, "high": high, "n": n, **more})
        if row["low"] is not None and row["high"] is not None and row["low"] > row["high"]:
            raise DataError(f"{variant} {metric}: interval must have low <= high, got [{low}, {high}]")
        identity = _identity(row)
        if identity in self._known:
            raise DataError(f"{variant} {metric} (seed {seed}, {more}) must be given once, got it twice")
        self._known.add(identity)
        self.rows.append(row)

    def verdict(self, name: str, text: str) -> None:
        """Add a conclusion: whether a claim holds, does not hold or is undecided, and why."""
        self.verdicts[name] = text

    def note(self, text: str) -> None:
        """Add a sentence that readers of the numbers must know; repeated sentences are kept once."""
        if text not in self.notes:
            self.notes.append(text)

    def document(self) -> dict[str, Any]:
        """Return the content of ``results.json``: only dicts, lists, strings, numbers and null."""
        elapsed = time.monotonic() - self._start
        seconds = self.seconds if self.seconds is not None else round(elapsed, 3)
        return {key: plain(seconds if key == "seconds" else getattr(self, key)) for key in KEYS}

    def write(self, folder: str | Path) -> Path:
        """Write ``results.json`` and ``config.yaml`` (the options) into ``folder``, atomically.

        Returns the path of ``results.json``.
        """
        path = Path(folder) / FILE
        write_json(path, self.document())
        write_options(Path(folder) / OPTIONS, self.command, self.config)
        return path

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table that has at least the columns ``ROW_KEYS``; null becomes NaN or None."""
        import pandas as pd

        frame = pd.DataFrame(self.rows)
        more = [c for c in frame.columns if c not in ROW_KEYS]
        return frame.reindex(columns=[*ROW_KEYS, *more])


def write_options(path: str | Path, command: str, options: Mapping[str, Any]) -> None:
    """Write the options of a command as a file for ``--config``."""
    import yaml

    head = f"# Options of {command}: run it again with --config {Path(path).name}\n"
    with atomic(path) as temporary:
        text = yaml.safe_dump(plain(options), sort_keys=False, allow_unicode=True)
        temporary.write_text(head + text, encoding="utf-8")


def load(path: str | Path) -> Results:
    """Read ``results.json``, given the file or its folder.

    Raises DataError if it is missing, is not JSON or does not have the public format.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise DataError("no such file", file=path, remedy="Run the command with --output first")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"must be JSON: {error}", file=path, remedy="Run the command again") from error
    check(document, path)
    return Results(**{key: document[key] for key in KEYS})


def check(document: Any, path: str | Path | None = None) -> None:
    """Raise DataError (file, row) unless ``document`` has the public format."""
    kinds: dict[str, Any] = {
        "rows": list,
        "notes": list,
        "seconds": (int, float),
        "git_commit": (str, type(None)),
    }
    if not isinstance(document, dict):
        raise DataError(f"must hold an object, got {type(document).__name__}", file=path)
    for key in KEYS:
        kind = kinds.get(key, str if key == "command" else dict)
        if key not in document or not isinstance(document[key], kind):
            got = type(document[key]).__name__ if key in document else "nothing"
            raise DataError(f"{key!r} must be {kind}, got {got}", file=path)
    for i, row in enumerate(document["rows"], 1):
        missing = [key for key in ROW_KEYS if key not in row]
        if missing:
            raise DataError(f"a row must have {ROW_KEYS}, got none of {missing}", file=path, row=i)


def plain(x: Any) -> Any:
    """Convert ``x`` to JSON types: paths to strings, arrays to lists, NaN and infinity to null.

    Raises TypeError for a value that cannot be converted.
    """
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        x = {f.name: getattr(x, f.name) for f in dataclasses.fields(x)}
    if isinstance(x, (np.ndarray, np.generic)):
        x = x.tolist()
    if isinstance(x, Mapping):
        return {str(key): plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    if isinstance(x, Path):
        return str(x)
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    if x is None or isinstance(x, (str, bool, int)):
        return x
    raise TypeError(f"results hold text, numbers, lists and dicts, got {type(x).__name__}")


def _identity(row: Mapping[str, Any]) -> str:
    """Return a key of a row: all its columns except the numbers."""
    return json.dumps({k: row[k] for k in sorted(row) if k not in ("value", "low", "high", "n")})
