"""Killed at 20 random moments, training ends with the files of a run left alone; drawing: test_generate."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import tiny_models

KILLS = 20
TRAIN = ["--data-settings.n_items=80", "--data-settings.n_users=12", "--models=family.yaml", "--device=cpu"]
TRAIN += ["--gen=ip_adapter", "--settings.steps=60", "--settings.batch_size=1", "--settings.images=1"]
FORK = multiprocessing.get_context("fork")  # what is imported need not be imported 20 times


def command(here: Path, cache: str, output: str) -> None:
    """In a process of its own: the command, with a checkpoint at every step."""
    from recsim_gen.core.config import run
    from recsim_gen.pretraining import training
    from recsim_gen.train_generator import main

    os.chdir(here)
    os.environ |= {"RECSIM_CACHE": str(here / cache), "MLFLOW_TRACKING_URI": f"sqlite:///{here / cache}.db"}
    training.SECONDS_BETWEEN_CHECKPOINTS = -1.0
    os._exit(run(main, [*TRAIN, f"--output={output}", "--quiet"]))


def started(*argv: object) -> multiprocessing.process.BaseProcess:
    process = FORK.Process(target=command, args=argv)
    process.start()
    return process


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_training_ends_with_the_same_generator(tmp_path):
    tiny_models.save_family(tmp_path / "models")
    text = "models:\n  diffusion: ./models/diffusion\n  image_encoder: ./models/clip\nsteps: 2\n"
    (tmp_path / "family.yaml").write_text(text)
    begun = time.monotonic()
    alone = started(tmp_path, "cache", "alone")
    alone.join()
    assert alone.exitcode == 0
    seconds, rng, hits = time.monotonic() - begun, random.Random(0), 0
    for _ in range(KILLS):
        process = started(tmp_path, "other", "disturbed")
        process.join(rng.uniform(0.2, 1.0) * seconds)
        process.kill()
        process.join()
        hits += process.exitcode != 0
    last = started(tmp_path, "other", "disturbed")
    last.join()
    assert last.exitcode == 0
    assert hits >= 1
    assert files(tmp_path / "disturbed" / "generator") == files(tmp_path / "alone" / "generator")
    assert not [*(tmp_path / "other" / "generators").glob("*.work")]
    pictures = [(tmp_path / name / "pictures.png").read_bytes() for name in ("alone", "disturbed")]
    assert pictures[0] == pictures[1]
