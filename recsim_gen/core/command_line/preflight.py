"""Checks before a command starts its work: mistakes are reported in milliseconds instead of minutes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import recsim_gen
from recsim_gen.core.errors import SettingError
from recsim_gen.core.registry import MODALITIES, did_you_mean
from recsim_gen.core.results import FILE
from recsim_gen.core.specs import Spec, check_encoder
from recsim_gen.core.store import cache_dir

PACKAGES = ("rankers", "generators", "analysis")
"""Our other top-level packages; their names are common, so a user's file may shadow them."""

DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Device types of torch."""

STORES = (
    "sqlite",
    "http",
    "https",
    "file",
    "postgresql",
    "mysql",
    "mssql",
    "databricks",
    "databricks-uc",
    "uc",
)
"""Kinds of tracking stores that are built into MLflow."""


ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Environment variables with the MLflow credentials."""

UNAUTHORIZED, SECONDS_FOR_AN_ANSWER = 401, 5.0


def check_packages() -> None:
    """Raise SettingError if Python would import another package or module in place of one of ours.

    This happens if the working folder has an ``analysis.py`` or a package ``rankers``, since ``python -m``
    looks there first. Imports nothing.
    """
    ours = Path(recsim_gen.__file__).resolve().parents[1]
    for name in PACKAGES:
        place = _place_of(name)
        if place is None:
            raise SettingError(f"the package {name} is missing from {ours}: install recsim-gen again")
        if place != ours / name:
            raise SettingError(
                f"{name} must be a package of recsim-gen, got {place}: give that another name, or run in "
                "another folder"
            )


def _place_of(package: str) -> Path | None:
    """Return the module file or folder that Python would import by this name; None if there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ())]
    place = folders[0] if folders else spec.origin
    return None if place is None else Path(place).resolve()


def preflight(options: Any) -> None:
    """Check a command's options against each other and against this machine; takes milliseconds.

    Raises SettingError for an empty list, a repeated value, a negative seed, an invalid name or setting of a
    part or encoder, a device or kind of store that does not exist, and an output folder or cache that is not
    writable. Warns on standard error if results in the output folder will be replaced.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        option = "--" + field.name.rstrip("_").replace("_", "-")
        if value == () and field.default:
            raise SettingError(f"{option} takes one value or more, got none")
        values = value if isinstance(value, tuple) else (value,)
        _check_values(option, values)
        for part in values:
            if isinstance(part, Spec):
                part.check()
    _check_encoders(options)
    _check_device(getattr(options, "device", "auto"))
    _check_store(getattr(options, "tracking_uri", None))
    if hasattr(options, "tracking_uri"):
        check_account(options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "")
    output = getattr(options, "output", None)
    if output is not None:
        is_file = bool(Path(type(options).output).suffix)  # a page; replacing an earlier one is fine
        _check_writable(Path(output).parent if is_file else Path(output), "--output", "name another folder")
        _tell_used(Path(output))
    _check_writable(cache_dir(), "the cache", "set RECSIM_CACHE to a folder that you can write to")


def _check_values(option: str, values: Sequence[Any]) -> None:
    """Raise SettingError for an empty list, a repeated value or a negative seed."""
    again = next((value for k, value in enumerate(values) if value in values[:k]), None)
    if again is not None:
        raise SettingError(f"{option}: give each value once, got {again} twice")
    if option.endswith(("seed", "seeds")):
        low = next((value for value in values if isinstance(value, int) and value < 0), None)
        if low is not None:
            raise SettingError(f"{option} must be 0 or more, got {low}")


def _check_encoders(options: Any) -> None:
    """Raise SettingError for an unknown modality or encoder; a ``module:Class`` is imported."""
    encoders: Mapping[str, str] = getattr(options, "encoders", None) or {}
    for modality in encoders:
        if modality not in MODALITIES:
            raise SettingError(f"unknown modality {modality!r}.{did_you_mean(modality, MODALITIES)}")
    alone = getattr(options, "encoder", None) or ()
    named = [spec for spec in encoders.values() if spec != "none"]
    for spec in (*named, *((alone,) if isinstance(alone, str) else alone)):
        check_encoder(spec)


def _check_device(device: str) -> None:
    """Raise SettingError for a device that does not exist."""
    if device in ("auto", "cpu"):
        return
    if device.partition(":")[0] not in DEVICES:  # checked without torch, whose import takes seconds
        raise SettingError(f"--device must be auto, cpu, cuda or cuda:N, got {device!r}")
    from recsim_gen.core.processes import device_of

    device_of(device)


def _check_store(uri: str | None) -> None:
    """Raise SettingError for a kind of store that neither MLflow nor an installed plugin supports."""
    scheme, there, _ = (uri or os.environ.get("MLFLOW_TRACKING_URI") or "").partition("://")
    kind = scheme.partition("+")[0]
    if not there or kind in STORES:
        return
    more = sorted(entry.name for entry in entry_points(group="mlflow.tracking_store"))
    if kind not in more:
        stores = ", ".join([*STORES, *more])
        raise SettingError(
            f"an MLflow store is sqlite:///FILE, http://SERVER or another of {stores}, got {uri}"
        )


def check_account(uri: str) -> None:
    """Raise SettingError if the MLflow server at ``uri`` requires credentials and they are missing or wrong.

    Sends one request without credentials and, if refused, one with MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD. A server that does not answer is not an error here, since a run does not need
    it. Tokens and ~/.mlflow/credentials are left to MLflow.
    """
    if not uri.startswith(("http://", "https://")) or "MLFLOW_TRACKING_TOKEN" in os.environ:
        return
    if _answer(uri, None) != UNAUTHORIZED:
        return
    name, password = (os.environ.get(variable, "") for variable in ACCOUNT)
    if name and password:
        if _answer(uri, f"{name}:{password}") == UNAUTHORIZED:
            raise SettingError(
                f"MLflow at {uri} refuses the user {name!r} with this password: see {' and '.join(ACCOUNT)}"
            )
    elif not (Path.home() / ".mlflow" / "credentials").is_file():
        raise SettingError(f"MLflow at {uri} requires a login: set {' and '.join(ACCOUNT)}")


def _answer(uri: str, account: str | None) -> int:
    """Return the HTTP status of a small request to the server; 0 if it cannot be reached."""
    import base64
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1")
    if account is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(account.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_FOR_AN_ANSWER) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def _check_writable(folder: Path, what: str, remedy: str) -> None:
    """Raise SettingError if ``folder`` cannot be created or written to."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        if not there.is_dir():
            raise NotADirectoryError(f"{there} is a file")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        problem = error.strerror or str(error)
        raise SettingError(
            f"{what} must be a folder to write in, got {folder} ({problem}): {remedy}"
        ) from error


def _tell_used(output: Path) -> None:
    """Warn that results of an earlier run will be replaced, and name the command that wrote them."""
    file = output / FILE
    if not os.path.isfile(file):
        return
    try:
        command = json.loads(file.read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        command = "another program"
    sys.stderr.write(f"note: {output} holds results of {command}, which this run replaces\n")
