"""What a training cost and how it ended, kept beside what it found."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.store import write_json

if TYPE_CHECKING:
    from recsim_gen.core.protocols import TrainingRun, TrainingTracker

FILE = "training.json"


class Recorder:
    """A `TrainingTracker` that keeps the last numbers of a training, and passes all on to another one."""

    def __init__(self, tracker: TrainingTracker | None) -> None:
        self._tracker, self._last = tracker, dict[str, float]()
        self._start = time.monotonic()

    def child(self, variant: str) -> _Child:
        """The child run of this variant, listened to."""
        return _Child(None if self._tracker is None else self._tracker.child(variant), self._last)

    def write(self, folder: Path) -> None:
        """``seconds`` since this start, ``peak_memory`` (GiB) of this process, and the last numbers."""
        record = {"seconds": time.monotonic() - self._start, "peak_memory": peak_memory(), **self._last}
        write_json(folder / FILE, record)


class _Child:
    """A run of the tracker, or of none."""

    def __init__(self, run: TrainingRun | None, last: dict[str, float]) -> None:
        self._run, self._last = run, last

    def log_epoch(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        self._last.update({prefix + name: float(value) for name, value in numbers.items()})
        if self._run is not None:
            self._run.log_epoch(epoch, numbers, prefix)

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
