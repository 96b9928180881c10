"""RecBole in a process that continues afterwards: its changes to the process are undone."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch


@contextmanager
def guarded(seed: int) -> Iterator[None]:
    """Undo RecBole's changes to the process: argv, CUDA_VISIBLE_DEVICES, numpy names, global generators.

    `Config` reads ``sys.argv`` (``_load_cmd_line``), writes CUDA_VISIBLE_DEVICES (RecBole #1794) and restores
    names that numpy removed (#1604); samplers draw from numpy's global generator. Inside, Python's and
    numpy's generators start at ``seed`` and torch's continues; afterwards all are as before.
    """
    names = ("bool", "int", "float", "complex", "object", "str", "long", "unicode")
    numpy_names = {n: np.__dict__[n] for n in names if n in np.__dict__}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with (
            mock.patch.object(sys, "argv", sys.argv[:1] or [""]),
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message=r"torch\.sparse\.SparseTensor")  # from its LightGCN
            warnings.simplefilter("ignore", SyntaxWarning)  # from its eval of the folder's name
            warnings.filterwarnings("ignore", message=r"`torch\.cuda\.amp")  # from its trainer
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        for n in names:
            if n in numpy_names:
                setattr(np, n, numpy_names[n])
            elif n in np.__dict__:
                delattr(np, n)
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
