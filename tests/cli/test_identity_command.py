"""The real command: galleries and generated images in, numbers, figures and clear errors out."""

from __future__ import annotations

import csv

import brought
import numpy as np
import pytest
from PIL import Image

from recsim_gen import identity
from recsim_gen.core import results as results_of
from recsim_gen.core.config import run


def shades(path, spread, each=5, groups=("tern", "wren")):
    """Identities of a shade each; the pictures lie around it by ``spread``."""
    rng = np.random.default_rng(each)
    for group in groups:
        for k, name in enumerate(("a", "b", "c")):
            for n in range(each):
                pixels = rng.normal(0, 12, (12, 12, 3)) + 40 + 80 * k + rng.normal(0, spread)
                pixels[3:9, 3:9, k] = 255 * rng.random() if spread > 50 else 255
                file = path / group / f"{name}_{group}" / f"{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
    return path


@pytest.fixture
def here(apart, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{apart / 'mlflow.db'}")
    shades(apart / "real", 3, each=6)
    shades(apart / "good", 3, each=2)
    shades(apart / "lost", 90, each=2)
    return apart


def asked(*argv: str) -> int:
    return run(identity.main, ["--gallery", "real", "--encoder", "pixels", *argv])


def test_identity_prints_and_keeps_everything(here, capsys):
    sizes = ["--images", "4", "--ablate-images", "1", "4", "--ablate-identities", "2", "3", "--draws", "2"]
    assert asked("--queries", "good", "bad=lost", *sizes, "--output", "out") == 0
    out = capsys.readouterr().out
    found = results_of.load(here / "out")
    value = {(r["variant"], r["group"], r["metric"]): r["value"] for r in found.rows if "size" not in r}
    assert value["good", "overall", "map"] == value["real", "wren", "map"] == 1
    assert value["bad", "overall", "map"] < 0.9
    assert value["bad", "overall", "chance"] == pytest.approx(value["random", "tern", "chance"])
    for variant in ("good", "bad", "real", "random"):
        assert f"| {variant} " in out
    assert "good (pixels): above chance: mAP 1.000 [1.000, 1.000]" in out
    assert "100% of the way from chance to real pictures" in out
    (noise,) = (
        r for r in found.rows if (r["variant"], r["group"], r["metric"]) == ("random", "overall", "map")
    )
    assert abs(noise["value"] - value["random", "overall", "chance"]) < noise["high"] - noise["low"]
    assert "random features give" in found.verdicts["chance"]
    assert "ceiling: 12 real pictures that are not in the gallery" in found.notes
    assert sorted({r["size"] for r in found.rows if r["metric"] == "map_by_images"}) == [1, 4]
    with (here / "out/per_image.csv").open() as f:
        lines = list(csv.DictReader(f))
    assert len(lines) == 12 + 12 + 12
    mean = np.mean([float(line["map"]) for line in lines if line["method"] == "bad"])
    assert mean == pytest.approx(value["bad", "overall", "map"])
    assert {p.name for p in (here / "out").iterdir()} == {
        "results.json",
        "config.yaml",
        "per_image.csv",
        "identity.png",
        "identity.svg",
        "retrieved.png",
    }
    assert Image.open(here / "out/retrieved.png").width > 800


def test_the_same_command_gives_the_same_numbers(here):
    for name in ("one", "two"):
        assert asked("--queries", "lost", "--images", "3", "--output", name, "--quiet") == 0
    one, two = (results_of.load(here / name).rows for name in ("one", "two"))
    assert one == two


def test_a_gallery_alone_measures_the_encoder(here):
    assert asked("--groups", "wren", "--output", "alone", "--quiet") == 0
    found = results_of.load(here / "alone")
    assert {row["variant"] for row in found.rows} == {"real", "random"}
    assert "each against the gallery without itself" in " ".join(found.notes)
    assert asked("--queries", "copied=real", "--groups", "wren", "--output", "copies", "--quiet") == 0
    found = results_of.load(here / "copies")
    assert found.verdicts["copied, copies (pixels)"] == (
        "18 of 18 are a picture of the gallery; without copies nothing is left that could ask"
    )
    notes = found.notes
    assert any(
        "18 of 36 images left out: their identities are in no gallery chosen" in note for note in notes
    )


def painted(path, names, seed=0):
    """Pictures of large random patches, no two alike."""
    rng = np.random.default_rng(seed)
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        patches = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((48, 48), Image.Resampling.BICUBIC).save(path / name)
    return path


def test_copies_in_a_gallery_lift_the_ceiling_and_it_is_said(here, capsys):
    """Equal bytes under the same identity or another, and a JPEG; the result is that without them."""
    names = [f"{who}/{n}.png" for who in ("ann", "bob", "cat") for n in range(4)]
    for place in ("clean", "doubled"):
        painted(here / place, names)
    (here / "doubled/ann/9.png").write_bytes((here / "doubled/ann/0.png").read_bytes())
    (here / "doubled/cat/9.png").write_bytes((here / "doubled/bob/1.png").read_bytes())
    Image.open(here / "doubled/bob/2.png").save(here / "doubled/bob/9.jpg", quality=85)
    painted(here / "made", ["ann/0.png", "bob/0.png", "cat/0.png"], seed=7)
    Image.open(here / "clean/cat/3.png").resize((96, 96)).save(here / "made/cat/1.png")
    ask = ["--gallery", "clean", "--encoder", "pixels", "--queries", "made", "--output"]
    assert run(identity.main, [*ask, "one"]) == 0
    capsys.readouterr()
    ask[1] = "doubled"
    assert run(identity.main, [*ask, "two"]) == 0
    out = capsys.readouterr().out
    clean, doubled = (
        {(r["variant"], r["metric"]): r for r in results_of.load(here / x).rows} for x in ("one", "two")
    )
    assert doubled["real", "map"]["value"] > clean["real", "map"]["value"] + 0.02
    assert doubled["real", "map_without_copies"]["value"] == pytest.approx(clean["real", "map"]["value"])
    assert doubled["real", "map_without_copies"]["n"] == 12
    assert (
        "Note: 3 pictures of the gallery are there before under another name, 1 of them under another" in out
    )
    assert "real, copies (pixels): 3 of 15 are a picture of the gallery; mAP " in out
    assert "made, copies (pixels): 1 of 4 are a picture of the gallery; mAP " in out
    assert clean["made", "map_without_copies"]["n"] == 3  # there the gallery has none: the query alone goes
    assert ("real", "map_without_copies") not in clean


def test_errors_are_clear_and_leave_nothing(here, capsys):
    brought.folder(here / "one", ["solo/1.png", "solo/2.png"])
    brought.folder(here / "stranger", ["x_wren/1.png"])
    for argv, told in (
        (
            ["--gallery", "one"],
            "2 or more identities are wanted in each gallery, group 'all' has 'solo' alone",
        ),
        (["--queries", "stranger"], "the gallery has no identity 'x_wren'. Did you mean 'c_wren'?"),
        (["--queries", "good", "x=good", "./good"], "got 'good' again. Give it a name of its own: NAME=PATH"),
        (["--queries", "nowhere"], "a folder or tar of pictures is wanted, got nothing"),
        (["--groups", "wrenn"], "no group 'wrenn'. Did you mean 'wren'?"),
        (["--ablate-identities", "1"], "--ablate-identities must be 2 or more, got 1"),
        (["--encoder", "pixel"], "unknown encoder 'pixel'. Did you mean 'pixels'?"),
        (["--encoder", "words"], "wants an encoder of images, got 'words'"),
    ):
        assert asked(*argv, "--output", "out") == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("error: ") == 1
        assert not (here / "out").exists()
    assert run(identity.main, []) == 2
    assert "give --gallery" in capsys.readouterr().err
