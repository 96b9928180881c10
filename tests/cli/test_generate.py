"""``python -m recsim_gen.generate`` as the reader runs it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import call, start
from PIL import Image

from recsim_gen.artifacts.drawn_images import read_provenance
from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.opening import open_data
from recsim_gen.generate import main
from recsim_gen.testing import tiny_models

SMALL = ["--data-settings.n_items=80", "--data-settings.n_users=12"]
DRAW = [*SMALL, "--gen=sd", "--episodes=5", "--each=2"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A family of tiny models that draw in two steps, as a file."""
    folder = tmp_path_factory.mktemp("models")
    tiny_models.save_diffusion(folder / "diffusion")
    (folder / "family.yaml").write_text("models:\n  diffusion: ./diffusion\nsteps: 2\n")
    return folder


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    """(process, its folder, its cache)."""
    root = tmp_path_factory.mktemp("generate")
    argv = [*DRAW, f"--models={models}", "--output=out"]
    process = call("generate", *argv, here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here", root / "cache"


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_each_picture_is_where_judge_looks_and_says_what_it_is(done, monkeypatch):
    process, here, cache = done
    monkeypatch.setenv("RECSIM_CACHE", str(cache))
    data = open_data("boutique", n_items=80, n_users=12)
    found = results.load(here / "out")
    for seed in (0, 1):
        folder = here / "out" / "images" / f"seed{seed}"
        pictures = read_images(folder, data)
        assert len(pictures) == 5
        user_of = {e.user: e for e in data.episodes}
        for k, path in enumerate(sorted(folder.rglob("*.png"))):
            episode = user_of[int(pictures.user[k])]
            assert pictures.item[k] == episode.reference
            made = read_provenance(path)
            assert (made.generator, made.episode, made.seed, made.stream) == (
                "sd",
                episode.id,
                seed,
                0,
            )
            assert made.fingerprint == found.fingerprints["generator"]
    assert {row["metric"]: row["value"] for row in found.rows}["drawn"] == 10
    names = {p.name for p in (here / "out").iterdir()}
    assert names == {"config.yaml", "images", "pictures.png", "results.json"}
    assert "Traceback" not in process.stderr


def test_a_picture_is_the_generators_to_the_bit_of_a_byte(done, models, monkeypatch):
    from generators.sd import StableDiffusion
    from recsim_gen.core.randomness import Rng

    monkeypatch.setenv("RECSIM_CACHE", str(done[2]))
    data = open_data("boutique", n_items=80, n_users=12)
    generator = StableDiffusion(models=models, device="cpu").fit(data.catalog, (), rng=Rng(0))
    batch = generator.generate(data.episodes[:12], n=2, rng=Rng(0))
    compared = 0
    for k, (pixels, seed) in enumerate(zip(batch.pixels, batch.seed, strict=True)):
        episode = data.episodes[k // 2]
        user, item = data.interactions.user_ids[episode.user], data.catalog.item_ids[episode.reference]
        path = done[1] / "out" / "images" / f"seed{seed}" / user / f"{item}.png"
        if path.exists():
            with Image.open(path) as image:
                assert (np.asarray(image) == np.rint(pixels.permute(1, 2, 0).numpy() * 255)).all()
            compared += 1
    assert compared == 10


def test_killed_it_goes_on_and_ends_with_the_same_files(done, models, apart, monkeypatch):
    """More episodes later: those of the smaller number are among them and are not drawn again."""
    from recsim_gen.artifacts import drawn_images as generated

    monkeypatch.setenv("RECSIM_CACHE", str(done[2]))
    shutil.copy(done[1] / "mlflow.db", apart)
    write, written = generated.write_image, []

    def killed(*args):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(write(*args))
        return written[-1]

    argv = [f"--models={models}", "--output=out", "--device=cpu", "--quiet"]
    monkeypatch.setattr(generated, "write_image", killed)
    assert run(main, [*DRAW, *argv]) == 130
    assert len(files(apart / "out" / "images")) == 3
    (apart / "out" / "images" / "seed0" / ".half.png.0.part").write_bytes(b"half")
    monkeypatch.setattr(generated, "write_image", write)
    assert run(main, [*DRAW, *argv]) == 0
    assert files(apart / "out" / "images") == files(done[1] / "out" / "images")
    assert {r["metric"]: r["value"] for r in results.load(apart / "out").rows}["drawn"] == 7
    assert run(main, [*DRAW, "--episodes=7", *argv]) == 0
    assert {r["metric"]: r["value"] for r in results.load(apart / "out").rows}["drawn"] == 4


def test_pictures_made_otherwise_are_not_mixed(done, models, apart, capsys, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(done[2]))
    argv = [*DRAW, f"--models={models}", "--output", str(done[1] / "out"), "--device=cpu"]
    before = files(done[1] / "out")
    for other in (["--seed=1"], ["--settings.prompt=a {title}"], ["--gen=original"]):
        assert run(main, [*argv, *other]) == 2
        assert "made by sd with other settings or data. Give another --output" in capsys.readouterr().err
    assert files(done[1] / "out") == before
    (apart / "out" / "images").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(apart / "out" / "images" / "mine.png")
    assert run(main, [*DRAW, f"--models={models}", "--output=out", "--device=cpu"]) == 2
    assert "mine.png: the picture was made by another program" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_give_the_same_files(done, models, tmp_path):
    environment = {**os.environ, "RECSIM_CACHE": str(done[2]), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    argv = [*launch, "-m", "recsim_gen.generate", *DRAW, f"--models={models}", "--output=out"]
    subprocess.run(argv, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=280)
    assert files(tmp_path / "out" / "images") == files(done[1] / "out" / "images")
    assert {r["metric"]: r["value"] for r in results.load(tmp_path / "out").rows}["drawn"] == 10


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_twenty_random_moments_it_ends_with_the_same_files(done, models, tmp_path):
    argv = ["generate", *DRAW, f"--models={models}", "--output=out"]
    draw = random.Random(0)
    for _ in range(20):
        process = start(*argv, here=tmp_path / "here", cache=done[2])
        time.sleep(draw.uniform(2, 25))
        process.kill()
        process.communicate()
    assert call(*argv, here=tmp_path / "here", cache=done[2]).returncode == 0
    assert files(tmp_path / "here" / "out" / "images") == files(done[1] / "out" / "images")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give --gen or --checkpoint. Generators: original, placebo"),
        (["--gen=orignal"], "unknown generator 'orignal'. Did you mean 'original'?"),
        (["--gen=ip_adapter"], "ip_adapter has to be trained first: give --checkpoint"),
        (
            ["--gen=sd", "--settings.promt=x"],
            "unknown setting 'promt' of generator sd. Did you mean 'prompt'",
        ),
        (["--gen=sd", "--each=0"], "each must be 1 or more"),
        (["--checkpoint=nowhere"], "nowhere: must be a trained generator, got no readable config.json"),
        pytest.param(["--gen=oracle", "--data=ml-100k"], "tastes must be known", marks=pytest.mark.recbole),
        pytest.param(
            ["--gen=placebo", "--data=ml-100k"],
            "set `images` to a folder or tar of <item id>.png",
            marks=pytest.mark.recbole,
        ),
        (["--gen=sd", "--models=embeded"], "Did you mean 'embedded'?"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_told_with_what_to_do(argv, message, models, apart, capsys):
    given = [] if "--models=embeded" in argv else [f"--models={models}"]
    settings = [] if "--data=ml-100k" in argv else SMALL
    assert run(main, [*given, *settings, *argv, "--output=out", "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert not (apart / "out").exists()
