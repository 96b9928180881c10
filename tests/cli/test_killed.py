"""Killed at 20 random moments, a command ends with the files of a run left alone; drawing: test_generate."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from recsim_gen.testing import tiny_models

KILLS = 20
FORK = multiprocessing.get_context("fork")  # what is imported need not be imported 20 times
COMMON = ["--data-settings.n_items=80", "--data-settings.n_users=12", "--models=family.yaml", "--device=cpu"]
ADAPTER = {"steps": 60, "batch_size": 1, "images": 1}
RAGAR = {"warm_start": 12, "steps": 6, "evaluate_every": 2, "evaluation_episodes": 2, "batch_size": 1}
RAGAR |= {"noises": 1, "reward_steps": 1, "image_tokens": 2, "queries": 4, "lora_rank": 2}
RAGAR |= {"mapper_width": 8, "mapper_layers": 1, "mapper_heads": 2, "mapper_feed_forward": 8}
RANKER = {"epochs": 4, "embedding_size": 8}
TRAINED = "mine=ip_adapter:steps=20,batch_size=1,images=1"
POLICIES = ["--gen", "sd", TRAINED, "--leakage", "strict", "paper", "--items=8", "--seeds", "0", "1"]


def settings(part: str, given: dict[str, int]) -> list[str]:
    return [f"--{part}-settings.{name}={value}" for name, value in given.items()]


COMMANDS = {
    "ip_adapter": ("train_generator", ["--gen=ip_adapter", *settings("gen", ADAPTER)]),
    "ragar": ("train_generator", ["--gen=ragar", "--force", *settings("gen", RAGAR)]),
    "aux_rec": ("aux_rec", [*POLICIES, *settings("ranker", RANKER)]),
}


def command(name: str, argv: list[str], here: Path, cache: str, output: str) -> None:
    """In a process of its own: the command, with a checkpoint at every step."""
    from recsim_gen.core import training_loop as training
    from recsim_gen.core.config import run

    os.chdir(here)
    os.environ |= {"RECSIM_CACHE": str(here / cache), "MLFLOW_TRACKING_URI": f"sqlite:///{here / cache}.db"}
    training.SECONDS_BETWEEN_CHECKPOINTS = -1.0
    main = importlib.import_module(f"recsim_gen.{name}").main
    os._exit(run(main, [*COMMON, *argv, f"--output={output}", "--quiet"]))


def started(*argv: object) -> multiprocessing.process.BaseProcess:
    process = FORK.Process(target=command, args=argv)
    process.start()
    return process


def kept(folder: Path) -> dict[str, object]:
    """What a run leaves: generator and pictures byte for byte, results but for times and what it ran on."""
    files = [*(folder / "generator").rglob("*"), *folder.glob("pictures*.png")]
    found: dict[str, object] = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in files if p.is_file()
    }
    told = json.loads((folder / "results.json").read_text().replace(folder.name, "OUTPUT"))
    told["rows"] = [row for row in told["rows"] if row["metric"] not in ("seconds", "peak_memory")]
    return found | {key: told[key] for key in ("rows", "verdicts", "notes", "fingerprints")}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", COMMANDS)
def test_killed_it_ends_with_the_same_files(tmp_path, case):
    tiny_models.save_family(tmp_path / "models")
    text = "models:\n  diffusion: ./models/diffusion\n  language_model: ./models/llm\n"
    text += "  text_encoder: ./models/clip\n  image_encoder: ./models/clip\nsteps: 2\n"
    (tmp_path / "family.yaml").write_text(text)
    name, argv = COMMANDS[case]
    begun = time.monotonic()
    alone = started(name, argv, tmp_path, "cache", "run_alone")
    alone.join()
    assert alone.exitcode == 0
    seconds, rng, hits = time.monotonic() - begun, random.Random(0), 0
    # Early ones first: on a busy machine the first run may have been slow, and a late one hit nothing.
    for share in sorted(rng.uniform(0.2, 1.0) for _ in range(KILLS)):
        process = started(name, argv, tmp_path, "other", "run_killed")
        process.join(share * seconds)
        process.kill()
        process.join()
        hits += process.exitcode != 0
    last = started(name, argv, tmp_path, "other", "run_killed")
    last.join()
    assert last.exitcode == 0
    assert hits >= 1
    assert kept(tmp_path / "run_killed") == kept(tmp_path / "run_alone")
    assert not [*(tmp_path / "other" / "generators").glob("*.work")]
