"""pretrain and measure_family as the reader runs them: a family from nothing, then its numbers."""

from __future__ import annotations

import json

import pytest

from recsim_gen.core.config import run
from recsim_gen.measure_family import main as measure_family
from recsim_gen.pretrain import main as pretrain

TRAIN = ["--data-settings.n_items=80", "--renders=16", "--minutes=0.01", "--quiet"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder in which a family has been trained for half a second a part."""
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        assert run(pretrain, ["--part", "clip", "vae", "unet", "glide", "--output=family", *TRAIN]) == 0
        yield folder


def test_each_part_says_how_it_was_made(here):
    for part in ("clip", "vae", "diffusion", "glide"):
        kept = json.loads((here / "family" / part / "training.json").read_text())
        assert kept["seed"] == 0
        assert kept["measured"]["steps"] >= 1
        assert kept["versions"]["torch"]
    assert not (here / "family" / ".checkpoints").exists()
    results = json.loads((here / "family" / "results.json").read_text())
    assert {row["variant"] for row in results["rows"]} == {"clip", "vae", "unet", "glide"}


def test_a_part_that_is_there_is_not_trained_again(here, capsys):
    before = (here / "family" / "vae" / "training.json").stat().st_mtime_ns
    assert run(pretrain, ["--part", "vae", "--output=family", *TRAIN[:-1]]) == 0
    assert "vae: found in" in capsys.readouterr().err
    assert (here / "family" / "vae" / "training.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--part", "vea"], "Did you mean 'vae'?"),
        (["--seeds", "0", "1"], "one seed"),
        (["--part", "vae", "--output=family", "--minutes=0.02"], "a part trained with {'minutes': 0.01}"),
        (["--part", "unet", "--output=elsewhere"], "needs part vae"),
        (["--minutes=0"], "above 0"),
    ],
)
def test_what_cannot_be_done_is_told(here, capsys, options, message):
    defaults = [option for option in TRAIN if option.split("=")[0] not in " ".join(options)]
    assert run(pretrain, [*defaults, *options]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("error: ")
    assert message in told


def test_the_folder_is_a_family_whose_glide_draws(here):
    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.family import open_family

    pictures = open_family("family").glide(device="cpu").draw(["a red shirt"], [Rng(0)])
    assert pictures.shape == (1, 3, 64, 64)
    assert pictures.isfinite().all()


def test_a_family_is_measured_on_what_was_held_out(here):
    options = ["--models=family", "--data-settings.n_items=80", "--prompts=4", "--steps=2", "--quiet"]
    assert run(measure_family, [*options, "--seeds", "0", "1", "--output=measured"]) == 0
    results = json.loads((here / "measured" / "results.json").read_text())
    found = {(row["variant"], row["metric"]): row for row in results["rows"]}
    assert found["clip", "recall@1"]["n"] == 4
    assert 1 <= found["clip", "median_rank"]["value"] <= 4
    assert found["vae", "psnr"]["value"] > 0
    assert found["generated", "seconds_32"]["value"] > 0
    assert results["verdicts"]["clip recall@1"].split(":")[0] in ("holds", "does not hold")
    written = {"results.json", "config.yaml", "generated.png", "real.png"}
    assert {p.name for p in (here / "measured").iterdir()} == written
    assert "verifier" in " ".join(results["notes"])  # the folder has none
