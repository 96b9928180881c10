"""The processes that share a run (``accelerate launch``, ``torchrun``), and each one's device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


def this_process() -> PartialState:
    """Its index among how many, and its device: a GPU of its own where there is one.

    Alone it is number 0 of 1. On machines without an accelerator several processes find each other
    too; Accelerate by itself would take each for the only one.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not accelerated)
