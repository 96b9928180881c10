"""The real commands: train for reward, judge images, refuse what must not judge or cannot be judged."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import brought
import numpy as np
import pytest

from analysis.distributions import _draw
from recsim_gen import judge, train_ranker
from recsim_gen.core import results as results_of
from recsim_gen.core.config import run

SMALL = [f"--data-settings.{key}={value}" for key, value in brought.SHOP.items()]
QUICK = [f"--settings.{key}={value}" for key, value in brought.QUICK.items()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which MICRO and BPR were trained for reward, and images and placebo lie."""
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(here / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
        patch.chdir(here)
        call = [*SMALL, *QUICK, "--ranker", "micro", "bpr", "--seeds", "0", "1", "--for-reward", "--quiet"]
        assert run(train_ranker.main, [*call, "--output", "trained"]) == 0
        dataset = brought.shop()
        names = [f"{dataset.catalog.item_ids[e.reference]}.png" for e in dataset.episodes]
        brought.folder(here / "images", sorted(set(names)))
        brought.folder(
            here / "placebo", {n: brought.picture(77 + k) for k, n in enumerate(sorted(set(names)))}
        )
        yield here


def judged(*argv: str) -> int:
    return run(judge.main, [*SMALL, "--headroom-pairs", "5", "--candidates", "4", *argv])


def test_training_for_reward_keeps_its_verdict(trained):
    config = json.loads((trained / "trained/bpr-seed1/config.json").read_text())
    kept = json.loads((trained / "trained/bpr-seed1/guards.json").read_text())
    assert kept["ranker"] == config["fingerprint"]
    assert kept["guards"]["modality use"]["verdict"] == "does not use"
    found = results_of.load(trained / "trained")
    assert found.verdicts["modality use (bpr)"].startswith("does not use: the ranker does not use the image")
    micro = json.loads((trained / "trained/micro-seed0/guards.json").read_text())["guards"]["modality use"]
    assert micro["numbers"]["valid_loss"] != micro["numbers"]["valid_loss_permuted"]


def test_a_ranker_that_does_not_look_is_refused_unless_forced(trained, capsys):
    call = ["--judges", "trained/bpr-seed0", "--images", "images", "--output", "out/refused"]
    assert judged(*call) == 2
    error = capsys.readouterr().err
    assert "bpr-seed0 must not judge images: the ranker does not use the image" in error
    assert "--force" in error
    assert not (trained / "out").exists()
    assert judged(*call, "--force", "--quiet") == 0
    notes = results_of.load(trained / "out/refused").notes
    assert any("judges by force" in note for note in notes)


def test_judge_prints_and_keeps_everything(trained, capsys):
    judges = ["--judges", "trained/micro-seed0", "trained/micro-seed1", "trained/bpr-seed0"]
    call = [*judges, "--images", "images", "--placebo", "placebo", "--verify", "2", "--force"]
    assert judged(*call, "--output", "out/judge") == 0
    out = capsys.readouterr().out
    for variant in ("images", "placebo", "noise", "shuffled", "own"):
        for name in ("micro", "bpr"):
            (line,) = [x for x in out.splitlines() if x.startswith(f"| {variant} ") and f" {name} " in x]
            cells = [c.strip() for c in line.strip("|").split("|")]
            assert len(cells) == 6  # variant, judge, ΔR, ΔMRR, improved, n
            if name == "bpr" or variant == "own":
                assert cells[2] == cells[3] == cells[4] == "0.000 [0.000, 0.000]"
            else:
                assert cells[2] != "0.000 [0.000, 0.000]"
    for guard in (
        "identity (micro)",
        "headroom (bpr)",
        "distance",
        "hubs",
        "held-out judges",
        "verify (bpr-seed0)",
    ):
        assert f"\n{guard}: " in out
    found = results_of.load(trained / "out/judge")
    assert found.command == "judge"
    assert {"data", "features", "images", "placebo", "ranker micro-seed1"} <= set(found.fingerprints)
    assert {row["scope"] for row in found.rows if row["metric"] == "delta_r"} == {"graph"}
    names = {p.name for p in (trained / "out/judge").iterdir()}
    assert names == {"config.yaml", "results.json", "delta_r.png", "delta_r.svg"}
    assert ET.parse(trained / "out/judge/delta_r.svg").getroot().tag.endswith("svg")


def test_item_scope_is_named_in_every_row(trained):
    call = ["--judges", "trained/micro-seed0", "--images", "images", "--scope", "item", "--force", "--quiet"]
    assert judged(*call, "--output", "out/item") == 0
    found = results_of.load(trained / "out/item")
    assert {row["scope"] for row in found.rows if row["metric"] == "delta_r"} == {"item"}
    assert all(
        row["value"] == 0 for row in found.rows if row["variant"] == "own" and row["metric"] == "delta_r"
    )


def test_an_untested_ranker_judges_with_a_note(trained):
    (verdict,) = (trained / "trained/micro-seed0").glob("guards.json")
    text = verdict.read_text()
    verdict.unlink()
    call = ["--judges", "trained/micro-seed0", "--images", "images", "--output", "out/untested", "--quiet"]
    try:
        assert judged(*call) == 0
    finally:
        verdict.write_text(text)
    notes = results_of.load(trained / "out/untested").notes
    assert any("was not tested" in note for note in notes)


BAD = [
    ({"i00000.png": b"no picture"}, "a picture is wanted"),
    ({"nothing.png": brought.picture(0)}, "unknown item 'nothing'"),
    ({"nobody/i00000.png": brought.picture(0)}, "unknown user 'nobody'"),
    ({}, "are wanted, got none"),
    (None, "a folder or tar of pictures is wanted, got nothing"),
]


@pytest.mark.parametrize(("files", "told"), BAD, ids=[told for _, told in BAD])
def test_bad_images_are_one_clear_error_and_nothing_is_written(trained, tmp_path, capsys, files, told):
    if files is not None:
        brought.folder(tmp_path / "bad", files)
    users = ["--users", "u0000"] if files and "i00000.png" in files else []
    call = ["--judges", "trained/micro-seed0", "--images", str(tmp_path / "bad"), "--force", *users]
    assert judged(*call, "--output", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("error: ") == 1
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_judge_may_be_trained_here(trained):
    call = ["--judges", "trained/micro-seed0", "micro-seed1", "--images", "images", "--force", "--quiet"]
    assert judged(*call, *QUICK, "--output", "out/here") == 0
    here = results_of.load(trained / "out/here")
    untested = "micro-seed1: whether it looks at images was not tested"
    assert any(note.startswith(untested) for note in here.notes)
    both = ["--judges", "trained/micro-seed0", "trained/micro-seed1", "--images", "images", "--force"]
    assert judged(*both, "--quiet", "--output", "out/brought") == 0
    brought_ = results_of.load(trained / "out/brought")
    assert here.rows == brought_.rows  # the same ranker, under the same name
    assert here.config["judges_settings"] == brought.QUICK
    other = ["--encoders.image", "none", "--output", "out/others"]
    assert judged(*both, "--quiet", *other) == 0  # each sees items as in its training
    assert results_of.load(trained / "out/others").rows == here.rows


def test_bad_judges_and_missing_options_are_told(trained, tmp_path, capsys):
    def error(*argv: str) -> str:
        assert judged(*argv, "--output", str(tmp_path / "out")) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    judge = ["--judges", "trained/micro-seed0"]
    images = ["--images", "images"]
    assert "give at least one of --judges" in error(*images)
    assert "give --images" in error(*judge)
    assert "--judges: give each value once" in error(*judge, *judge, *images)
    assert "must be a trained ranker" in error("--judges", "images", *images)
    assert "trained on other data" in error(*judge, *images, "--force", "--data-settings.seed=1")
    assert "NAME-seedN (micro-seed0) or a folder" in error("--judges", "trained/micro-seed7", *images)
    brought.folder(tmp_path / "odd", {"config.json": b'{"ranker": "os:system"}'})
    assert "unknown ranker 'os:system'" in error("--judges", str(tmp_path / "odd"), *images)


def test_for_reward_wants_seeds_and_images(trained, capsys):
    assert run(train_ranker.main, [*SMALL, *QUICK, "--for-reward", "--seeds", "0", "--output", "no"]) == 2
    assert "at least 2 --seeds" in capsys.readouterr().err
    call = [*SMALL, *QUICK, "--for-reward", "--encoders.image", "none", "--output", "no"]
    assert run(train_ranker.main, call) == 2
    assert "--for-reward needs image features" in capsys.readouterr().err
    assert not (trained / "no").exists()


def test_the_figure_draws_each_variant_of_each_judge():
    import pandas as pd

    draw = np.random.default_rng(0)
    rows = [
        {"judge": j, "variant": v, "delta_r": x}
        for j in ("micro", "vbpr", "lattice", "bpr")
        for v in ("images", "placebo", "noise", "own")
        for x in draw.normal(size=20)
    ]
    figure = _draw(pd.DataFrame(rows), "Title")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["micro", "vbpr", "lattice", "bpr"]
    for axes in shown:
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert len(lines) == 3  # own is 0 by law
        for line in lines:
            assert line.get_ydata()[-1] == 1
            assert (np.diff(line.get_xdata()) >= 0).all()
