"""Saves transformers models with 16-bit weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsim_gen.encoders.weights import no_bars


def save_at_half(model: Any, folder: Path) -> None:
    """Call ``save_pretrained`` with weights of 16 bits and a config that says float32.

    Loading gives float32, which CPUs need. ``model`` itself is rounded likewise, so that later measurements
    apply to what was saved.
    """
    import torch
    import transformers

    with no_bars(transformers):
        model.half().save_pretrained(folder)
    model.float().config.dtype = torch.float32
    model.config.save_pretrained(folder)
