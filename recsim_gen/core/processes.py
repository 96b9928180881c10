"""Processes that share a run (``accelerate launch``, ``torchrun``), and the device of each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from recsim_gen.core.errors import SettingError
from recsim_gen.core.progress import is_quiet, on_line, quietly

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long processes wait for one that trains a ranker or draws images alone; the default is minutes."""

_together: ContextVar[bool] = ContextVar("together", default=False)


def this_process() -> PartialState:
    """Return this process's index, the number of processes and its device: its own GPU if there is one.

    Alone, it is number 0 of 1. Without an accelerator, several processes find each other too; Accelerate by
    itself would treat each as the only one.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not accelerated
    return PartialState(cpu=cpu, timeout=PATIENCE)


def works_alone() -> bool:
    """Return whether this is the first process, which does unshared work, and treat that one as the only one.

    The launcher's variables are removed from its environment.
    """
    first = os.environ.get("RANK", "0") == "0"
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE") if first else ():
        os.environ.pop(name, None)
    return first


@contextmanager
def working_together() -> Iterator[None]:
    """Share steps of trainings and triples of judges among all launched processes inside.

    All must call the same functions in the same order. Elsewhere each works alone.
    """
    token = _together.set(True)
    try:
        yield
    finally:
        _together.reset(token)


def check_batches(accumulate: int, processes: int) -> None:
    """Raise SettingError unless each process has a batch in every step."""
    if processes > accumulate:
        raise SettingError(
            f"{processes} processes share the batches of a step: accumulate must be {processes} or more, got "
            f"{accumulate}. Give --gen-settings.accumulate {processes}"
        )


class Team:
    """Processes that share a training: this one is ``index`` of ``count``, and 0 is the main process."""

    def __init__(self) -> None:
        state = this_process() if _together.get() else None
        self.index: int = state.process_index if state else 0
        self.count: int = state.num_processes if state else 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the first process, which decides, reports and writes."""
        return self.index == 0

    def agreed(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns in the first process; the others do not call it."""
        if self.count == 1:
            return ask()
        from accelerate.utils import broadcast_object_list

        (answer,) = broadcast_object_list([ask() if self.is_main_process else None])
        return cast(T, answer)

    def gathered(self, parts: Sequence[T]) -> list[T]:
        """Return the parts of all processes, those of the first one first."""
        if self.count == 1:
            return [*parts]
        from accelerate.utils import gather_object

        return cast(list[T], gather_object([*parts]))

    def wait(self) -> None:
        """Wait until all processes are here: what each of them wrote then exists."""
        if self.count > 1:
            this_process().wait_for_everyone()

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in place; all of one device and type."""
        if self.count == 1 or not tensors:
            return
        import torch
        from accelerate.utils import reduce

        total = reduce(torch.cat([x.flatten() for x in tensors]).to(this_process().device), "sum")
        for x, part in zip(tensors, total.split([x.numel() for x in tensors]), strict=True):
            x.copy_(part.view_as(x))


def side_by_side(work: Callable[..., object], jobs: Sequence[tuple[Any, ...]], at_once: int) -> None:
    """Call ``work`` with each of ``jobs`` in separate processes, ``at_once`` at a time.

    They share the cores; each has its own line of the terminal for its progress bars.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    calls = [delayed(_call)(line % at_once, is_quiet(), work, job) for line, job in enumerate(jobs)]
    with parallel_config("loky", n_jobs=at_once, inner_max_num_threads=max(1, cpu_count() // at_once)):
        Parallel()(calls)


def _call(line: int, quiet: bool, work: Callable[..., object], job: tuple[Any, ...]) -> None:
    with quietly(quiet), on_line(line), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from libraries, for their developers
        work(*job)


def device_of(asked: str) -> str:
    """Return the device that an option names: ``cpu``, ``cuda:N``; ``cuda`` and ``auto``: this process's GPU.

    ``auto`` is the CPU if there is no GPU. Raises SettingError for a GPU that does not exist, and for a
    device that torch does not know.
    """
    import torch

    if asked == "cpu":
        return asked
    there = torch.cuda.is_available()
    if asked == "auto":
        return str(this_process().device) if there else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise SettingError(f"--device must be auto, cpu, cuda or cuda:N, got {asked!r}") from error
    if device.type == "cuda" and not (there and (device.index or 0) < torch.cuda.device_count()):
        count = torch.cuda.device_count() if there else 0
        raise SettingError(f"--device {asked}: torch finds {count} such devices here. Give --device cpu")
    return str(this_process().device) if asked == "cuda" else asked
