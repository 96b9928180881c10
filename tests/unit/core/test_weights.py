"""Weights are read whole, and as the model wants them, or there is one clear error."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from recsim_gen.core.errors import DataError
from recsim_gen.core.weights import read_tensors

KEPT = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


@pytest.fixture
def file(tmp_path):
    save_file(KEPT, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_what_was_kept_is_read(file):
    for model in (None, {name: torch.zeros_like(x) for name, x in KEPT.items()}):
        read = read_tensors(file, model)
        assert read.keys() == KEPT.keys()
        assert all(torch.equal(read[name], x) for name, x in KEPT.items())


def test_what_is_no_weights_is_told(file):
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no weights"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"model.safetensors: no readable weights.*Train again"):
            read_tensors(file)
    file.unlink()
    with pytest.raises(DataError, match=r"a map is wanted: .*Draw one"):
        read_tensors(file, problem="a map is wanted", remedy="Draw one")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"a": torch.zeros(2, 2), "b": torch.zeros(4)}, r"weights 'a' must be \(2, 2\), got \(2, 3\)"),
        ({"a": torch.zeros(2, 3)}, r"weights 'b' must be None, got \(4,\)"),
        ({**KEPT, "c": torch.zeros(1)}, r"weights 'c' must be \(1,\), got None"),
    ],
)
def test_other_names_or_shapes_are_told(file, model, told):
    with pytest.raises(DataError, match=told):
        read_tensors(file, model)
