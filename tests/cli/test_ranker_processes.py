"""Commands that train rankers, under a launcher: two processes give the numbers of one."""

import os
import subprocess
import sys

import pytest
from real_data import ROOT

from recsim_gen.core import results

SHOP = ["--data=boutique", "--data-settings.n_items=120", "--data-settings.n_users=60"]
SHORT = ["--ranker-settings.epochs=6", "--ranker-settings.eval_step=3"]
COMMANDS = {
    "train_ranker": ["--ranker=micro", *SHORT, "--seeds", "0", "1", "--trials=2", "--for-reward"],
    "validate_assumptions": ["--ranker=micro", *SHORT, "--seeds=0", "--protocol=retrain", "--k=2"],
    "known_world": ["--ranker=micro", *SHORT, "--seeds", "0", "1", "--draws=1"],
    "judge": ["--judges=micro-seed0", "--judges-settings.epochs=6", "--images=drawn/images/seed0", "--force"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_two_processes_report_what_one_does(command, tmp_path):
    """On CPUs it is torchrun that starts what Accelerate then finds."""
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)

    def run(name: str, *words: str) -> None:
        here = {"cwd": tmp_path, "env": {**environment, "RECSIM_CACHE": str(tmp_path / name)}}
        done = subprocess.run([sys.executable, *words], **here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    if command == "judge":
        drawn = ["--gen=original", "--episodes=6", "--output=drawn", "--quiet"]
        run("one", "-m", "recsim_gen.generate", *SHOP, *drawn)
    rows = {}
    for name, start in (("one", []), ("two", launch)):
        argv = ["-m", f"recsim_gen.{command}", *SHOP, "--device=cpu", "--quiet", f"--output={name}"]
        run(name, *start, *argv, *COMMANDS[command])
        found = results.load(tmp_path / name).rows
        rows[name] = {(row["variant"], row["metric"], row["seed"]): row["value"] for row in found}
        assert len(rows[name]) == len(found) > 0  # no row stands twice
    assert rows["two"] == pytest.approx(rows["one"], abs=1e-6, nan_ok=True)
