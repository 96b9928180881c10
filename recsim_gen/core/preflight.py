"""What is checked before a command does any work: whatever would otherwise be told after minutes of it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsim_gen.core.errors import SettingError
from recsim_gen.core.results import FILE
from recsim_gen.core.store import cache_dir


def preflight(options: Any) -> None:
    """Check a command's options against each other and against this machine; takes milliseconds.

    Raises SettingError for no value where some are usual, a value given twice, a negative seed, a GPU that is
    not there, and an output folder or cache that cannot be written. Says on standard error what a used output
    folder will lose.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        option = "--" + field.name.rstrip("_").replace("_", "-")
        if value == () and field.default:
            raise SettingError(f"{option} takes one value or more, got none")
        _check_values(option, value if isinstance(value, tuple) else (value,))
    device = getattr(options, "device", "auto")
    if device not in ("auto", "cpu"):
        from recsim_gen.core.processes import device_of  # loads torch

        device_of(device)
    output = getattr(options, "output", None)
    if output is not None:
        _check_writable(Path(output), "--output", "name another folder")
        _tell_used(Path(output))
    _check_writable(cache_dir(), "the cache", "set RECSIM_CACHE to a folder of yours")


def _check_values(option: str, values: Sequence[Any]) -> None:
    again = next((value for k, value in enumerate(values) if value in values[:k]), None)
    if again is not None:
        raise SettingError(f"{option}: each is wanted once, got {again} twice")
    if option.endswith(("seed", "seeds")):
        low = next((value for value in values if isinstance(value, int) and value < 0), None)
        if low is not None:
            raise SettingError(f"{option} must be 0 or more, got {low}")


def _check_writable(folder: Path, what: str, remedy: str) -> None:
    """Raise SettingError where a file cannot be made in ``folder``, or the folder cannot be made."""
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
    """Say that results of an earlier run will be replaced, and whose they are."""
    file = output / FILE
    if not os.path.isfile(file):
        return
    try:
        command = json.loads(file.read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        command = "another program"
    sys.stderr.write(f"note: {output} holds results of {command}, which this run replaces\n")
