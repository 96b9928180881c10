"""`identity --gen`: methods are shown pictures, draw, and are measured, in one command."""

from __future__ import annotations

import csv

import brought
import pytest
from PIL import Image

from recsim_gen import identity
from recsim_gen.core import results as results_of
from recsim_gen.core.config import run
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.testing import tiny_models

SHORT = "steps=2,batch_size=2,prior_images=2"
LOOKS = {"red": "bag", "blue": "bag", "green": "hat", "pink": "hat"}

FAMILY = """
models: {text_encoder: ./clip, image_encoder: ./clip, diffusion: ./diffusion}
steps: 2
batch: 10
"""


@pytest.fixture
def here(apart, monkeypatch):
    """A gallery of bags and hats in six pictures each, a few other subjects, and a family of tiny models."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{apart / 'mlflow.db'}")
    for main, category in LOOKS.items():
        for k in range(6):
            file = apart / f"real/{category}/{main}/{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            render(Attributes(category, main, "white", "dots"), Rng(0).for_(main, k)).save(file)
    others = [f"others/{noun}/{name}/{k}.png" for noun in ("mug", "lamp") for name in "xy" for k in range(2)]
    brought.folder(apart, others)
    tiny_models.save_family(apart / "family")
    (apart / "family/family.yaml").write_text(FAMILY)
    return apart


def asked(*argv: str) -> int:
    models = ["--models", "family", "--others", "others", "--device", "cpu"]
    return run(identity.main, ["--gallery", "real", "--encoder", "pixels", *models, *argv])


def test_methods_are_drawn_and_measured_beside_chance_and_ceiling(here, capsys):
    methods = f"dreambooth:{SHORT},free=dreambooth:{SHORT},prior_weight=0,ip_adapter:steps=2,batch_size=2"
    sizes = ["--subject-images", "2", "--images", "2", "--held-out", "1"]
    assert asked("--gen", methods, *sizes, "--output", "out") == 0
    out = capsys.readouterr().out
    found = results_of.load(here / "out")
    value = {(r["variant"], r["metric"]): r for r in found.rows}
    for label in ("dreambooth", "free", "ip_adapter"):
        assert value[label, "map"]["n"] == 40
        assert value[label, "rank1_chance"]["value"] == pytest.approx(1 / 2)
        assert 0 <= value[label, "rank1"]["value"] <= value[label, "rank5"]["value"] <= 1
        assert f"| {label} " in out
        with (here / f"out/images/{label}/pictures.csv").open() as f:
            rows = list(csv.DictReader(f))
        assert {row["identity"] for row in rows} == set(LOOKS)
        assert all(Image.open(here / "out/images" / label / row["file"]).size == (32, 32) for row in rows)
    assert value["real", "map"]["n"] == 4
    assert "pairs of methods otherwise than mAP" in found.verdicts["pairwise similarity (pixels)"]
    notes = " ".join(found.notes)
    assert "4 subjects, each drawn by 10 prompts and shown in 2 pictures that are not in the gallery" in notes
    assert "adapters learned from 4 other subjects" in notes
    assert (here / "out/identity.png").exists()


def test_what_was_drawn_is_found_again_and_can_be_brought(here, monkeypatch):
    gen = ["--gen", f"dreambooth_lora:{SHORT}", "--subject-images", "2"]
    assert asked(*gen, "--output", "one", "--quiet") == 0
    monkeypatch.setattr("generators.subjects.dreambooth.DreamBooth._fit", None)  # nothing learns again
    assert asked(*gen, "--output", "two", "--quiet") == 0
    one, two = (results_of.load(here / name).rows for name in ("one", "two"))
    assert one == two
    assert asked("--queries", "lora=two/images/dreambooth_lora", "--output", "three", "--quiet") == 0
    assert {row["variant"] for row in results_of.load(here / "three").rows} >= {"lora", "real"}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--gen", "dreamboth"], "unknown subject-driven method 'dreamboth'. Did you mean 'dreambooth'?"),
        (["--gen", "dreambooth:stps=3"], "unknown setting 'stps'"),
        (["--gen", "emu2"], "give --queries emu2=DIR"),
        (["--gen", "real=dreambooth"], "real means real pictures or chance here"),
        (["--gen", "dreambooth dreambooth"], "a subject-driven method is NAME"),
        (["--gen", "dreambooth,dreambooth"], "got dreambooth twice"),
        (["--gen", "dreambooth", "--subject-images", "6"], "must have 6 pictures to be shown and 1 or more"),
        (["--gen", "dreambooth", "--prompts", "shopp"], "--prompts must be a list or a file"),
        (["--gen", "dreambooth", "--models", "paper"], "is missing"),
    ],
)
def test_errors_are_told_before_any_work(here, capsys, argv, told):
    assert asked(*argv, "--output", "out") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("error: ") == 1
    assert not (here / "out").exists()


def test_an_adapter_without_others_to_learn_from_is_told(here, capsys):
    argv = ["--gallery", "real", "--models", "family", "--gen", "ip_adapter", "--output", "out"]
    assert run(identity.main, argv) == 2
    assert "ip_adapter has to learn from other subjects than those of the gallery" in capsys.readouterr().err
