"""What RecBole does to a process is undone."""

import os
import random
import sys

import numpy as np
import pytest
import torch

from rankers.recbole.guard import guarded


def meddle() -> None:
    with guarded(0):
        assert sys.argv == ["me"]
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        np.bool = bool
        np.str = str  # noqa: NPY001
        random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
        raise KeyError


def test_all_is_put_back_even_after_an_error(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(sys, "argv", ["me", "--model=BPR"])

    def state():
        numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
        names = [np.__dict__.get(name) for name in ("bool", "str")]
        return random.getstate(), numpy_state, torch.get_rng_state().tolist(), names

    before = state()
    with pytest.raises(KeyError):
        meddle()
    assert state() == before
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert sys.argv == ["me", "--model=BPR"]


def test_inside_pythons_and_numpys_streams_start_at_the_seed_and_torchs_goes_on():
    def draws(seed):
        torch.manual_seed(5)
        with guarded(seed):
            return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    assert draws(0) == draws(0)
    assert [a != b for a, b in zip(draws(0), draws(1), strict=True)] == [True, True, False]
    torch.manual_seed(5)
    assert torch.rand(1).item() == draws(0)[2]
