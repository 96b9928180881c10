"""Options that commands share: the device, and all of them as files have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recsim_gen.core import processes
from recsim_gen.core.errors import SettingError
from recsim_gen.core.options import DeviceOptions, RankerOptions, RunOptions
from recsim_gen.core.specs import DataSpec, GeneratorSpec, JudgeSpec, RankerSpec


def place(device):
    return DeviceOptions(device=device).place


def test_without_a_gpu_all_runs_on_the_cpu_and_asking_for_one_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (place("auto"), place("cpu")) == ("cpu", "cpu")
    for device in ("cuda", "cuda:0"):
        with pytest.raises(SettingError, match=f"--device {device}: torch finds 0 such devices here"):
            place(device)
    with pytest.raises(SettingError, match="--device must be auto, cpu, cuda or cuda:N, got 'gpu'"):
        place("gpu")


def test_with_gpus_each_process_has_its_own_unless_one_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(processes, "this_process", lambda: SimpleNamespace(device=torch.device("cuda:1")))
    assert [place(device) for device in ("auto", "cuda", "cuda:0", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:0",
        "cpu",
    ]
    with pytest.raises(SettingError, match="--device cuda:2: torch finds 2 such devices here"):
        place("cuda:2")


@dataclass(frozen=True)
class Model:
    """A nested config."""

    k: int = 10


@dataclass(frozen=True, kw_only=True)
class Options(RankerOptions, DeviceOptions, RunOptions):
    """Options of a command."""

    model: Model = Model()
    judges: tuple[JudgeSpec, ...] = ()
    gen: GeneratorSpec | None = None
    from_: DataSpec = DataSpec("boutique")
    seeds: tuple[int, ...] = (0, 1)
    output: Path = Path("runs/x")


def test_a_file_has_parts_by_name_and_their_settings_beside_them():
    options = Options(
        ranker=RankerSpec("micro:published-code", {"epochs": 3}),
        judges=(JudgeSpec("bpr-seed0", {"epochs": 5}), JudgeSpec("popularity-seed0")),
        from_=DataSpec("pog", {"seed": 1}),
    )
    assert options.as_dict() == {
        "output": Path("runs/x"),
        "tracking_uri": None,
        "quiet": False,
        "device": "auto",
        "ranker": "micro:published-code",
        "ranker_settings": {"epochs": 3},
        "model": {"k": 10},
        "judges": ["bpr-seed0", "popularity-seed0"],
        "judges_settings": {"epochs": 5},
        "gen": None,
        "from": "pog",
        "data_settings": {"seed": 1},
        "seeds": [0, 1],
    }
