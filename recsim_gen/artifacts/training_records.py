"""Cost and curves of a training, stored beside its result."""

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

    OnCurve = Callable[[int, Mapping[str, float], str], None]  # epoch, its numbers, prefix of their names

FILE = "training.json"
CURVES = "curves.json"


class Curves:
    """Collects the numbers of every epoch of a training, so that they can be replayed when it is loaded."""

    def __init__(self, on_epoch: OnCurve | None = None) -> None:
        self._told, self._epochs = on_epoch, list[tuple[int, dict[str, float], str]]()

    def __call__(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Store the numbers of an epoch and pass them on."""
        self._epochs.append((epoch, {name: float(value) for name, value in numbers.items()}, prefix))
        if self._told is not None:
            self._told(epoch, numbers, prefix)

    def write(self, folder: Path) -> None:
        """Write the curves into the folder of the trained model."""
        write_json(folder / CURVES, self._epochs)


def tell_again(folder: Path, on_epoch: OnCurve) -> None:
    """Replay the epochs that `Curves.write` stored in ``folder``, if any, to ``on_epoch``."""
    try:
        epochs = json.loads((folder / CURVES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for epoch, numbers, prefix in epochs:
        on_epoch(epoch, numbers, prefix)


class Recorder:
    """A `TrainingTracker` that stores the numbers of a training and passes them on to a run.

    Parameters
    ----------
    run
        Run that receives the curves of all parts of the training, if any.
    start
        Prefix of the curves' names.
    """

    def __init__(self, run: TrainingRun | None, start: str = "") -> None:
        self._run, self._prefix, self._last = run, start, dict[str, float]()
        self._curves = Curves(None if run is None else run.log_epoch)
        self._start = time.monotonic()

    def child(self, variant: str) -> _Child:
        """Return the recorder of the part with this name."""
        return _Child(self._run, self._curves, f"{self._prefix}{variant}/", self._last)

    def write(self, folder: Path) -> None:
        """Write ``seconds`` since the start, ``peak_memory`` (GiB) of this process, last numbers, curves."""
        record = {"seconds": time.monotonic() - self._start, "peak_memory": peak_memory(), **self._last}
        write_json(folder / FILE, record)
        self._curves.write(folder)


class _Child:
    """Records one part of a training, and passes it on to a run if there is one."""

    def __init__(self, run: TrainingRun | None, curves: Curves, start: str, last: dict[str, float]) -> None:
        self._run, self._curves, self._start, self._last = run, curves, start, last

    def log_epoch(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        self._last.update({prefix + name: float(value) for name, value in numbers.items()})
        self._curves(epoch, numbers, self._start + prefix)

    def log_file(self, path: str | Path, folder: str | None = None) -> None:
        if self._run is not None:
            self._run.log_file(path, folder)


def read_record(folder: Path) -> dict[str, float]:
    """Return what `Recorder.write` stored in ``folder``; {} if nothing."""
    try:
        record: dict[str, float] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def peak_memory() -> float:
    """Return the peak memory of this process in GiB; that of the GPU if it used one."""
    import resource

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**30 if sys.platform == "darwin" else 2**20)
