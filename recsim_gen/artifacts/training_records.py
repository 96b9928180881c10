"""What a training cost and how it went, kept beside what it found."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.store import write_json

if TYPE_CHECKING:
    from recsim_gen.core.protocols import TrainingRun

    OnCurve = Callable[
        [int, Mapping[str, float], str], None
    ]  # epoch, its numbers, what stands before their names

FILE = "training.json"
CURVES = "curves.json"


class Curves:
    """Numbers of every epoch of a training, so that they can be told again where it is found."""

    def __init__(self, on_epoch: OnCurve | None = None) -> None:
        self._told, self._epochs = on_epoch, list[tuple[int, dict[str, float], str]]()

    def __call__(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Keep an epoch's numbers, and pass them on."""
        self._epochs.append((epoch, {name: float(value) for name, value in numbers.items()}, prefix))
        if self._told is not None:
            self._told(epoch, numbers, prefix)

    def write(self, folder: Path) -> None:
        """Write them beside what was trained."""
        write_json(folder / CURVES, self._epochs)


def tell_again(folder: Path, on_epoch: OnCurve) -> None:
    """Give ``on_epoch`` the epochs that `Curves.write` wrote there, if it did."""
    try:
        epochs = json.loads((folder / CURVES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for epoch, numbers, prefix in epochs:
        on_epoch(epoch, numbers, prefix)


class Recorder:
    """A `TrainingTracker` that keeps the numbers of a training, and passes all on to a run of another one.

    Parameters
    ----------
    run
        Where all parts of the training write their curves.
    start
        Of the curves' names.
    """

    def __init__(self, run: TrainingRun | None, start: str = "") -> None:
        self._run, self._prefix, self._last = run, start, dict[str, float]()
        self._curves = Curves(None if run is None else run.log_epoch)
        self._start = time.monotonic()

    def child(self, variant: str) -> _Child:
        """The part of this name, listened to."""
        return _Child(self._run, self._curves, f"{self._prefix}{variant}/", self._last)

    def write(self, folder: Path) -> None:
        """Write ``seconds`` since the start, ``peak_memory`` (GiB) of this process, last numbers, curves."""
        record = {"seconds": time.monotonic() - self._start, "peak_memory": peak_memory(), **self._last}
        write_json(folder / FILE, record)
        self._curves.write(folder)


class _Child:
    """A part of a training, whose curves go to a run or to none."""

    def __init__(self, run: TrainingRun | None, curves: Curves, start: str, last: dict[str, float]) -> None:
        self._run, self._curves, self._start, self._last = run, curves, start, last

    def log_epoch(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        self._last.update({prefix + name: float(value) for name, value in numbers.items()})
        self._curves(epoch, numbers, self._start + prefix)

    def log_file(self, path: str | Path, folder: str | None = None) -> None:
        if self._run is not None:
            self._run.log_file(path, folder)


def read_record(folder: Path) -> dict[str, float]:
    """What `Recorder.write` wrote there; {} where it did not."""
    try:
        record: dict[str, float] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def peak_memory() -> float:
    """The most memory that this process has held, in GiB; that of a GPU where it used one."""
    import resource

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**30 if sys.platform == "darwin" else 2**20)
