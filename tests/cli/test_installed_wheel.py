"""What the wheel gives outside of the repository: the program, its data, `judge` and `simulate`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from real_data import ROOT

import recsim_gen
from recsim_gen.core import results

SOURCES = ("recsim_gen", "rankers", "generators", "analysis")
FILES = ("pyproject.toml", "README.md", "LICENSE")
TINY = ["--data-settings.n_items=100", "--data-settings.n_users=30"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheel was installed in; what it needs is that of the running Python."""
    root = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, root / "source" / name)
    alone = ["--no-deps", "--quiet", "--disable-pip-version-check"]
    for words in (
        ["wheel", *alone, "--no-build-isolation", "--wheel-dir", root / "dist", root / "source"],
        [
            "install",
            *alone,
            "--no-compile",
            "--target",
            root / "site",
            "--find-links",
            root / "dist",
            "recsim-gen",
        ],
    ):
        offline = {**os.environ, "PIP_NO_INDEX": "1"}
        subprocess.run([sys.executable, "-m", "pip", *words], env=offline, cwd=root, check=True)
    shutil.rmtree(root / "source")
    return root / "site"


@pytest.fixture
def program(installed, tmp_path):
    """Runs ``recsim-gen`` in an empty folder, with the wheel alone; gives what it printed."""

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed), "RECSIM_CACHE": str(tmp_path / "cache")}
        environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [sys.executable, str(installed / "bin" / "recsim-gen"), *words]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_holds_the_packages_their_types_and_the_small_models(installed):
    assert {name for name in SOURCES if (installed / name / "py.typed").is_file()} == {*SOURCES}
    models = "recsim_gen/models/boutique/diffusion/unet/diffusion_pytorch_model.safetensors"
    assert (installed / models).stat().st_size == (ROOT / models).stat().st_size
    assert not (installed / "mlflow").exists()
    assert not (installed / "tests").exists()


def test_it_says_its_version_and_its_commands(program, installed):
    assert program("--version") == f"recsim-gen {recsim_gen.__version__}\n"
    for name in ("judge", "simulate", "export"):
        assert f"\n  {name} " in program("--help")


def test_pictures_are_drawn_and_judged(program, tmp_path):
    program("generate", *TINY, "--gen=original", "--episodes=6", "--output=drawn", "--quiet")
    words = ["--judges=taste-seed0", "--force", "--images=drawn/images/seed0", "--output=out"]
    assert "| images" in program("judge", *TINY, *words, "--headroom-pairs=2", "--candidates=2")
    rows = results.load(tmp_path / "out").rows
    (moved,) = {row["value"] for row in rows if (row["variant"], row["metric"]) == ("images", "delta_r")}
    assert moved == 0  # they are the items' own


def test_a_shop_is_simulated(program, tmp_path):
    words = ["--arms", "original", "aa", "--rounds=1", "--seeds=0", "--trials=2", "--output=out"]
    program("simulate", *TINY, *words)
    assert {row["variant"] for row in results.load(tmp_path / "out").rows} == {"original", "aa"}
