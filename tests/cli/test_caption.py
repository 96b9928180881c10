"""``python -m recsim_gen.caption`` as the reader runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from command_line import call

from recsim_gen.caption import main
from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.datasets.files.caption_files import read_captions
from recsim_gen.datasets.opening import open_data
from recsim_gen.testing import tiny_models

SMALL = ["--data-settings.n_items=80", "--data-settings.n_users=10", "--max-tokens=4", "--dtype=float32"]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return tiny_models.save_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def done(qwen, tmp_path_factory):
    """(process, its folder, its cache)."""
    root = tmp_path_factory.mktemp("caption")
    argv = [*SMALL, f"--captioner={qwen}", "--output=out/captions.csv"]
    process = call("caption", *argv, here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here", root / "cache"


def test_every_picture_and_every_history_has_its_captions(done, monkeypatch):
    process, here, cache = done
    monkeypatch.setenv("RECSIM_CACHE", str(cache))
    data = open_data("boutique", n_items=80, n_users=10)
    captions = read_captions(here / "out" / "captions.csv")
    assert set(captions) == {"target", "style", "history"}
    assert set(captions["target"]) == set(captions["style"]) == set(data.catalog.item_ids.tolist())
    episode = data.episodes[0]
    told = [captions["style"][str(data.catalog.item_ids[row])] for row in episode.history]
    assert captions["history"][episode.id] == "; ".join(dict.fromkeys(filter(None, told)))
    found = results.load(here / "out" / "captions")
    assert {row["variant"]: row["n"] for row in found.rows} == {
        "target": 80,
        "style": 80,
        "history": len(data.episodes),
    }
    assert all(0 <= row["value"] <= 1 for row in found.rows if row["metric"] in ("distinct", "blank"))
    assert {p.name for p in (here / "out").iterdir()} == {
        "captions",
        "captions.csv",
        "mlflow.db",
        "mlartifacts",
    }
    for word in ("target", "style", "history", "distinct", "results.json"):
        assert word in process.stdout
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_two_processes_give_the_same_captions(done, qwen, tmp_path):
    """Half of the pictures each. On CPUs it is torchrun that starts what Accelerate then finds."""
    environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    argv = [*launch, "-m", "recsim_gen.caption", *SMALL, f"--captioner={qwen}", "--output=out/captions.csv"]
    subprocess.run(argv, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=280)
    assert (tmp_path / "out" / "captions.csv").read_text() == (done[1] / "out" / "captions.csv").read_text()
    kept = list((tmp_path / "cache" / "captions").rglob("*.jsonl"))
    assert {p.name for p in kept} == {"0.jsonl", "1.jsonl"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--captioner", "blip2"], "captioner 'blip2': wanted hf:NAME of the hub or a folder, got neither"),
        (
            ["--captioner", "hf:Salesforce/blip2-opt-2.7b"],
            "Salesforce/blip2-opt-2.7b (licence: MIT) is missing",
        ),
        (["--captioner", "hf:Qwen/Qwen2.5-VL-7B-Instruct"], "(licence: Apache-2.0) is missing"),
        (["--kinds", "stlye"], "--kinds must be one of target, style, got 'stlye'. Did you mean 'style'?"),
        (["--output", "captions.txt"], "captions go into FILE.csv or FILE.json, got 'captions.txt'"),
        pytest.param(
            ["--data", "ml-100k"],
            "pictures to caption are wanted, ml-100k has none",
            marks=pytest.mark.recbole,
        ),
    ],
    ids=lambda x: "=".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_told_with_what_to_do(argv, message, qwen, apart, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(apart / "hub"))
    given = [] if "--captioner" in argv else [f"--captioner={qwen}"]
    settings = [] if "--data" in argv else SMALL[:2]
    assert run(main, [*given, *settings, *argv, "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert list(apart.iterdir()) == []


def test_json_holds_the_same(done, qwen, apart, monkeypatch):
    """Another form of the same captions, asked of no model again: the cache has them."""
    monkeypatch.setenv("RECSIM_CACHE", str(done[2]))
    shutil.copy(done[1] / "out" / "mlflow.db", apart)  # to set one up takes seconds
    argv = [*SMALL, f"--captioner={qwen}", "--kinds", "style", "--output=c.json", "--quiet"]
    assert run(main, argv) == 0
    captions = json.loads((apart / "c.json").read_text())
    assert captions == {
        k: v for k, v in read_captions(done[1] / "out" / "captions.csv").items() if k != "target"
    }
