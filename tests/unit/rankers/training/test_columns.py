"""Columns shared by processes: what is exchanged comes back, and every gradient is whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from real_data import ROOT

from rankers.contrastive import contrastive_loss
from rankers.training.columns import ALONE, Columns
from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import this_process, working_together

N, D, PROCESSES = 11, 7, 3


def table() -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0))


def loss_of(columns: Columns, part: torch.Tensor) -> torch.Tensor:
    """One in which rows, columns and draws of other processes take part."""
    rows = columns.by_rows(part)
    unit = torch.nn.functional.normalize(rows.tanh(), dim=1)
    anchors = torch.tensor([9, 0, 5, 10]) - columns.rows(N).start
    contrast = contrastive_loss(rows, unit, 0.5, anchors, columns)
    score = columns.sum((columns.by_columns(unit, N) * part).sum(1))
    return contrast + score.sigmoid().log().mean() + columns.norms(part.norm())


def work(file: Path) -> None:
    """Of one process: what it has, its loss and its part of the gradient."""
    process = this_process()
    columns = Columns(D, process.process_index, process.num_processes)
    part = columns.own(table()).requires_grad_()
    loss = loss_of(columns, part)
    loss.backward()
    same = columns.by_columns(columns.by_rows(part), N)
    found = {
        "loss": loss.detach(),
        "grad": columns.whole(part.grad),
        "whole": columns.whole(part),
        "same": torch.equal(same, part),
        "width": part.shape[1],
        "together": columns.together(table()[columns.rows(N)], N),
    }
    torch.save(found, f"{file}{columns.index}")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("columns") / "found"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    count = f"--nproc-per-node={PROCESSES}"
    launch = [sys.executable, "-m", "torch.distributed.run", count, __file__, str(file)]
    subprocess.run(launch, env=environment, check=True, capture_output=True, timeout=200)
    return [torch.load(f"{file}{index}") for index in range(PROCESSES)]


def test_exchanges_lose_nothing(found):
    assert [one["width"] for one in found] == [3, 2, 2]
    for one in found:
        assert one["same"]
        assert torch.equal(one["whole"], table())
        assert torch.equal(one["together"], table())


def test_loss_and_gradient_are_those_of_one_process(found):
    x = table().requires_grad_()
    loss = loss_of(ALONE, x)
    loss.backward()
    for one in found:
        torch.testing.assert_close(one["loss"], loss.detach())
        torch.testing.assert_close(one["grad"], x.grad)


def test_more_processes_than_columns_are_refused():
    with pytest.raises(SettingError, match="Launch fewer processes"):
        Columns(4, 0, 5)


if __name__ == "__main__":
    with working_together():
        work(Path(sys.argv[1]))
