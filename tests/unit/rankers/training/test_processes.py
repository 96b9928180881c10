"""Two processes train what one does: the same weights but for rounding, the same early stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from real_data import ROOT
from safetensors.torch import load_file

from rankers import sparse_rows
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.processes import this_process, working_together
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

SHORT = {"epochs": 6, "eval_step": 2, "stopping_step": 1, "train_batch_size": 150, "learning_rate": 0.02}
CATALOG, CHOSEN = worlds.noise(300, 60)  # more users than a validation asks at a time
LAST_OF_ONE = len(CHOSEN.only("train")[0]) - 1  # an epoch's second batch has a single pair
RANKERS = {
    "micro": {"knn_k": 5, "embedding_size": 8, "contrastive_anchors": 6, "valid_users": 99},
    "micro:large": {"knn_k": 5, "embedding_size": 7, "contrastive_anchors": 6, "approximate_from": 20},
    "micro:published": {
        "knn_k": 5,
        "embedding_size": 8,
        "contrastive_anchors": 0,
        "raw_features": "trainable",
    },
    "lattice": {"knn_k": 5, "embedding_size": 8, "n_item_layers": 2},
    "vbpr": {"embedding_size": 8},
    "bpr": {"embedding_size": 8, "train_batch_size": LAST_OF_ONE},
    "lightgcn": {"embedding_size": 8},
    "lightgcn:large": {"embedding_size": 7},
    "lightgcn:lengths": {"embedding_size": 8, "require_pow": False, "reg_weight": 0.01},
    "din": {"train_batch_size": 32, "epochs": 2},
}


def train_all(folder: Path) -> None:
    """Every ranker, saved under its name; the epochs that were told beside it."""
    for name, settings in RANKERS.items():
        told = []
        ranker = make_ranker(RankerSpec(name.partition(":")[0], {**SHORT, **settings}))
        with pytest.MonkeyPatch.context() as patch:
            if name.endswith(":large"):
                patch.setattr(sparse_rows, "LARGE", 1)
            ranker.fit(CATALOG, CHOSEN, rng=Rng(0), on_epoch=lambda epoch, _, told=told: told.append(epoch))
        ranker.save(folder / name)
        (folder / name / "told").write_text(f"{told} {ranker.best_epoch} {ranker.valid}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What one process trained, and what each of two did."""
    root = tmp_path_factory.mktemp("together")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "RECSIM_CACHE": str(root / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", __file__, str(root)]
    subprocess.run(launch, env=environment, cwd=root, check=True, capture_output=True, timeout=280)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(root / "cache"))
        train_all(root / "alone")
    return root / "alone", root / "0", root / "1"


@pytest.mark.parametrize("name", RANKERS)
def test_weights_are_those_of_one_process_and_alike_on_both(name, folders):
    alone, first, second = (load_file(folder / name / "model.safetensors") for folder in folders)
    assert all(torch.equal(first[weight], second[weight]) for weight in alone)
    apart = torch.cat([(first[weight] - alone[weight]).abs().flatten() for weight in alone])
    assert apart.median() < 1e-6
    assert apart.max() < 1e-3  # Adam divides by a gradient's size: where that is nearly 0, rounding shows
    alone, first, second = ((folder / name / "told").read_text() for folder in folders)
    assert first == second == alone


if __name__ == "__main__":
    with working_together():
        train_all(Path(sys.argv[1]) / str(this_process().process_index))
