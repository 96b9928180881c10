"""Models of transformers kept at half their size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsim_gen.encoders.weights import no_bars


def save_at_half(model: Any, folder: Path) -> None:
    """``save_pretrained`` with weights of 16 bits under a config that says float32.

    Whoever loads it gets float32, which CPUs want. ``model`` itself is rounded alike, so what is
    measured after this is what was kept.
    """
    import torch
    import transformers

    with no_bars(transformers):
        model.half().save_pretrained(folder)
    model.float().config.dtype = torch.float32
    model.config.save_pretrained(folder)
