"""The processes that share a run (``accelerate launch``, ``torchrun``), and each one's device."""

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
"""How long processes wait for one that trains a ranker, or draws, alone; by default it is minutes."""

_together: ContextVar[bool] = ContextVar("together", default=False)


def this_process() -> PartialState:
    """Its index among how many, and its device: a GPU of its own where there is one.

    Alone it is number 0 of 1. On machines without an accelerator several processes find each other
    too; Accelerate by itself would take each for the only one.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not accelerated
    return PartialState(cpu=cpu, timeout=PATIENCE)


def works_alone() -> bool:
    """Whether this is the process that does what is not shared: the first, which then thinks it is alone."""
    first = os.environ.get("RANK", "0") == "0"
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE") if first else ():
        os.environ.pop(name, None)
    return first


@contextmanager
def training_together() -> Iterator[None]:
    """Inside, all processes that were launched share the steps of a training; elsewhere each trains alone."""
    token = _together.set(True)
    try:
        yield
    finally:
        _together.reset(token)


def check_batches(accumulate: int, processes: int) -> None:
    """SettingError unless each of the processes has a batch of every step."""
    if processes > accumulate:
        raise SettingError(
            f"{processes} processes share the batches of a step: accumulate must be {processes} or more, got "
            f"{accumulate}. Give --gen-settings.accumulate {processes}"
        )


class Team:
    """The processes that share a training: ``index`` of ``count``, of which the first is the main one."""

    def __init__(self) -> None:
        state = this_process() if _together.get() else None
        self.index: int = state.process_index if state else 0
        self.count: int = state.num_processes if state else 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the first process: it decides, tells and writes."""
        return self.index == 0

    def agreed(self, ask: Callable[[], T]) -> T:
        """What ``ask`` answers to the first process; the others do not ask."""
        if self.count == 1:
            return ask()
        from accelerate.utils import broadcast_object_list

        (answer,) = broadcast_object_list([ask() if self.is_main_process else None])
        return cast(T, answer)

    def wait(self) -> None:
        """Go on when all processes have come here: what each of them wrote is there then."""
        if self.count > 1:
            this_process().wait_for_everyone()

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Each becomes its sum over the processes, in place; all of one device and type."""
        if self.count == 1 or not tensors:
            return
        import torch
        from accelerate.utils import reduce

        total = reduce(torch.cat([x.flatten() for x in tensors]).to(this_process().device), "sum")
        for x, part in zip(tensors, total.split([x.numel() for x in tensors]), strict=True):
            x.copy_(part.view_as(x))


def side_by_side(work: Callable[..., object], jobs: Sequence[tuple[Any, ...]], at_once: int) -> None:
    """Call ``work`` with each of ``jobs`` in processes of their own, ``at_once`` at a time.

    The cores are shared among them; each has a line of the terminal for its bars.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    calls = [delayed(_call)(line % at_once, is_quiet(), work, job) for line, job in enumerate(jobs)]
    with parallel_config("loky", n_jobs=at_once, inner_max_num_threads=max(1, cpu_count() // at_once)):
        Parallel()(calls)


def _call(line: int, quiet: bool, work: Callable[..., object], job: tuple[Any, ...]) -> None:
    with quietly(quiet), on_line(line), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, to their developers
        work(*job)


def device_of(asked: str) -> str:
    """The device that an option names: ``cpu``, ``cuda:N``; ``cuda`` and ``auto`` are this process's own GPU.

    ``auto`` is the CPU where there is no GPU. Raises SettingError for a GPU that is not there, and for
    what torch knows no device of.
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
