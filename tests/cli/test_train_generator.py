"""``python -m recsim_gen.train_generator`` and ``show`` as the reader runs them, with tiny models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import tracked
from PIL import Image
from safetensors.torch import load_file

from generators.keywords import Keywords
from recsim_gen import generate, show, train_generator, train_ranker
from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import check_batches
from recsim_gen.testing import tiny_models

SMALL = ["--data-settings.n_items=80", "--data-settings.n_users=12"]
PMG = ["--gen=pmg", "--gen-settings.steps=50", "--gen-settings.batch_size=1", "--gen-settings.history=2"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """An empty folder with a family of tiny models that draw in two steps."""
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(here / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(here)
        (here / "cache").mkdir()
        tiny_models.save_family(here / "models")
        text = "models:\n  diffusion: ./models/diffusion\n  language_model: ./models/llm\n"
        text += "  text_encoder: ./models/clip\n  image_encoder: ./models/clip\nsteps: 2\n"
        (here / "family.yaml").write_text(text)
        yield here


def train(*argv: str) -> int:
    return run(train_generator.main, [*SMALL, "--models=family.yaml", "--device=cpu", *argv])


@pytest.fixture(scope="module")
def done(here):
    assert train(*PMG, "--output=pmg", "--tracking-uri=sqlite:///pmg.db") == 0
    return here / "pmg"


@pytest.fixture(scope="module")
def ranker(here):
    """The folder of a ranker that was trained on the small shop."""
    micro = ["--ranker=micro", "--settings.epochs=2", "--settings.embedding_size=8", "--seeds=0"]
    assert run(train_ranker.main, [*SMALL, *micro, "--output=rankers"]) == 0
    return "rankers/micro-seed0"


def test_it_leaves_a_generator_its_cost_and_a_sheet(done):
    found = results.load(done)
    values = {row["metric"]: row["value"] for row in found.rows}
    assert {"seconds", "peak_memory", "loss"} == set(values)
    assert 0.05 < values["peak_memory"] < 6
    assert {row["variant"] for row in found.rows} == {"pmg"}
    assert (done / "generator" / "model.safetensors").is_file()
    with Image.open(done / "pictures.png") as sheet:
        assert sheet.size[0] > 500
    assert any("training episodes of 12 users" in note for note in found.notes)


def test_its_losses_are_in_a_child_run(done, here):
    name, children = tracked(here / "pmg.db")
    assert name == "FINISHED"
    assert {"loss", "seconds"} <= children["pmg"]


def test_generate_draws_with_it(done):
    argv = [*SMALL, "--models=family.yaml", "--device=cpu", "--episodes=2", "--output=drawn"]
    assert run(generate.main, [*argv, f"--checkpoint={done / 'generator'}"]) == 0
    made = results.load("drawn").fingerprints["generator"]
    assert made == results.load(done).fingerprints["generator"]
    assert len([*Path("drawn/images/seed0").rglob("*.png")]) == 2


@pytest.mark.slow
def test_two_processes_learn_what_one_does(here, tmp_path):
    """On CPUs it is torchrun that starts what Accelerate then finds; two halves make the same sum."""
    argv = ["-m", "recsim_gen.train_generator", *SMALL, f"--models={here / 'family.yaml'}", "--device=cpu"]
    argv += ["--gen=pmg", "--gen-settings.steps=4", "--gen-settings.batch_size=2", "--gen-settings.history=2"]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2"]
    made = {}
    for name, start in (("one", []), ("two", launch)):
        environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / name), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *start, *argv, "--gen-settings.accumulate=2", f"--output={name}"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=280)
        made[name] = load_file(tmp_path / name / "generator" / "model.safetensors")
    assert all(torch.equal(x, made["two"][name]) for name, x in made["one"].items())


def test_more_processes_than_batches_are_told():
    check_batches(4, 4)
    with pytest.raises(SettingError, match=r"4 processes share .* accumulate must be 4 or more, got 3"):
        check_batches(3, 4)


def test_the_same_again_is_found(done, capsys):
    first = results.load(done)
    assert train(*PMG, "--output=again", "--tracking-uri=sqlite:///pmg2.db") == 0
    assert "found in" in capsys.readouterr().err
    again = results.load("again")
    assert again.rows == first.rows
    assert again.fingerprints == first.fingerprints


def test_fewer_episodes_are_another_training(done):
    fewer = ["--gen-settings.steps=2", "--gen-settings.batch_size=1", "--episodes=9", "--output=fewer"]
    assert train("--gen=ip_adapter", "--gen-settings.images=1", *fewer) == 0
    assert any(note.startswith("9 training episodes") for note in results.load("fewer").notes)
    assert {row["n"] for row in results.load("fewer").rows} == {9}


@pytest.fixture
def words_of_titles(monkeypatch):
    """The tiny language model says the same of every item: the words of the titles stand in."""
    monkeypatch.setattr(
        Keywords, "of_all", lambda self: [str(title).split()[:-1] for title in self._catalog.titles]
    )


@pytest.mark.parametrize(
    ("name", "more"),
    [("ragar_taste", []), ("ragar_dpo", ["--gen-settings.pairs=2", "--gen-settings.batch_size=2"])],
)
def test_the_judge_that_chooses_pictures_is_kept_with_the_generator(
    here, words_of_titles, capsys, name, more
):
    """By default a taste; what is drawn from the checkpoint is what the one in memory drew."""
    settings = ["--gen-settings.candidates=2", "--gen-settings.steps=1", "--gen-settings.reward_steps=1"]
    assert train(f"--gen={name}", *settings, *more, "--force", f"--output={name}") == 0
    made = results.load(name)
    assert "swap test (taste-seed0)" in made.verdicts
    draw = [*SMALL, "--models=family.yaml", "--device=cpu", "--episodes=2", f"--checkpoint={name}/generator"]
    assert run(generate.main, [*draw, f"--output={name}/chosen"]) == 0
    assert results.load(f"{name}/chosen").fingerprints["generator"] == made.fingerprints["generator"]
    shutil.rmtree(f"{name}/generator/judge")
    assert run(generate.main, [*draw, f"--output={name}/unchosen"]) == 2
    assert (
        "the judge by which this generator chooses among its pictures is missing" in capsys.readouterr().err
    )


def test_one_judge_rewards_and_another_watches(here):
    """Both trained here, with settings of their own; which gave the reward lies in the output folder."""
    size = {"image_tokens": 2, "queries": 4, "lora_rank": 2, "mapper_width": 8, "mapper_layers": 1}
    size |= {"mapper_heads": 2, "mapper_feed_forward": 8, "fusion_heads": 2}
    steps = {"warm_start": 0, "steps": 1, "batch_size": 1, "noises": 1, "reward_steps": 1}
    steps |= {"evaluate_every": 1, "evaluation_episodes": 1}
    settings = [f"--gen-settings.{name}={value}" for name, value in {**size, **steps}.items()]
    judges = ["--judges", "micro-seed1", "vbpr-seed0", "--judges-settings.epochs=1", "--force"]
    assert train("--gen=ragar", *settings, *judges, "--output=ragar") == 0
    found = results.load("ragar")
    assert {"evaluated_reward", "judge_reward"} <= {row["metric"] for row in found.rows}
    kept = json.loads(Path("ragar/ranker/config.json").read_text())
    assert kept["ranker"] == "micro"
    assert (
        kept["fingerprint"]
        == found.fingerprints["ranker micro-seed1"]
        != found.fingerprints["ranker vbpr-seed0"]
    )
    assert "modality use (micro-seed1)" in found.verdicts
    assert any(note.startswith("vbpr-seed0: whether it looks at images") for note in found.notes)
    config = yaml.safe_load(Path("ragar/config.yaml").read_text())
    assert config["judges"] == ["micro-seed1", "vbpr-seed0"]
    assert config["judges_settings"] == {"epochs": 1}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "give --gen. Generators: original"),
        (["--gen=pgm"], "unknown generator 'pgm'. Did you mean 'pmg'"),
        (["--gen=sd"], "sd has nothing to learn: draw with python -m recsim_gen.generate"),
        (
            ["--gen=pmg", "--gen-settings.stepps=3"],
            "unknown setting 'stepps' of generator pmg. Did you mean 'steps'",
        ),
        (["--gen=pmg", "--gen-settings.steps=x"], "--gen-settings.steps must be a whole number, got 'x'"),
        (["--gen=pmg", "--episodes=-1"], "episodes must be 0 (all) or more, got -1"),
        (["--gen=pmg", "--judges=nowhere"], "a folder that train_ranker wrote, got 'nowhere'"),
        (["--gen=pmg", "--judges=cache"], "must be a trained ranker, got no readable config.json"),
        (["--gen=pmg", "--judges=mcro-seed0"], "unknown ranker 'mcro'. Did you mean 'micro'"),
        (
            ["--gen=pmg", "--judges", "bpr-seed0", "bpr-seed0"],
            "give each value once, got bpr-seed0 twice",
        ),
        (
            ["--gen=pmg", "--judges", "micro-seed0", "vbpr-seed0", "bpr-seed0"],
            "one that rewards and one that watches, got 3",
        ),
        (["--gen=pmg", "--data=boutiqe"], "unknown data 'boutiqe'. Did you mean 'boutique'"),
    ],
)
def test_what_cannot_be_is_told(here, argv, told, capsys):
    assert train(*argv, "--output=wrong") == 2
    assert told in capsys.readouterr().err
    assert not Path("wrong").exists()


def test_show_draws_the_case_study(here, done, ranker):
    argv = [*SMALL, "--models=family.yaml", "--episodes=3", f"--judges={ranker}", "--output=shown"]
    words = ["--gen", "original,sd,oracle", "--checkpoint", f"pmg={done / 'generator'}"]
    assert run(show.main, [*argv, *words, "--tracking-uri=sqlite:///show.db"]) == 0
    found = results.load("shown")
    value = {(row["variant"], row["metric"]): row["value"] for row in found.rows}
    assert [*dict.fromkeys(row["variant"] for row in found.rows)] == ["original", "sd", "oracle", "pmg"]
    assert value["original", "delta_r"] == 0
    assert any("whether it looks at images was not tested" in note for note in found.notes)
    assert "utility_gained" not in {metric for _, metric in value}  # this family has no verifier
    with Image.open("shown/case_study.png") as sheet:
        width = 16 * 2 + 329 + 5 * (18 + 128)
        assert sheet.size == (width, 16 + 34 + 3 * (24 + 128 + 17 + 12 + 16))
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    orange = np.abs(pixels - (214, 92, 16)).sum(2) < 12
    assert orange[:, :349].any()  # what was retrieved is outlined
    page = Path("shown/gallery.html").read_text()
    assert page.count("<article") == 3
    assert page.count('class="after"') == 3 * 4
    assert not orange[:66].any()
    assert tracked(here / "show.db")[0] == "FINISHED"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--episodes=0"], "a page has room for 1 to 200 episodes, got 0"),
        (["--gen=sdd"], "Did you mean 'sd'"),
        (["--checkpoint=pmg=nowhere"], "got no readable config.json"),
        (["--judges=nowhere"], "a folder that train_ranker wrote, got 'nowhere'"),
        (["--judges=cache"], "must be a trained ranker, got no readable config.json"),
        (["--gen=ragar_taste", "--judges=bpr-seed0"], "ragar_taste learns from a judge's scores"),
    ],
)
def test_show_tells_what_cannot_be(here, argv, told, capsys):
    gen = [] if any(word.startswith("--gen") for word in argv) else ["--gen=sd"]
    assert run(show.main, [*SMALL, "--models=family.yaml", "--output=wrong", *gen, *argv]) == 2
    assert told in capsys.readouterr().err
    assert not Path("wrong").exists()


def test_a_ranker_of_other_data_is_told(here, ranker, capsys):
    other = ["--data-settings.n_items=90", "--data-settings.n_users=12", "--models=family.yaml"]
    argv = [*other, "--gen=original", f"--judges={ranker}", "--output=wrong"]
    assert run(show.main, argv) == 2
    assert "other" in capsys.readouterr().err
