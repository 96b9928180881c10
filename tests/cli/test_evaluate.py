"""``python -m recsim_gen.evaluate`` as the reader runs it: Table 2 of a small shop with tiny models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import brought
import numpy as np
import pandas as pd
import pytest
import yaml
from command_line import tracked

from recsim_gen import evaluate
from recsim_gen.artifacts.trained_generators import chosen_episodes
from recsim_gen.core import results as results_of
from recsim_gen.core.config import run
from recsim_gen.core.results import Results
from recsim_gen.judging.guards import Guard
from recsim_gen.judging.verdicts import store
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models

SMALL = [f"--data-settings.{key}={value}" for key, value in brought.SHOP.items()]
QUICK = ["--judges-settings.epochs=2", "--judges-settings.embedding_size=8"]
EPISODES = 4
JUDGES = ("micro-seed0", "micro-seed1", "vbpr-seed0")
TRAINED = ["--judges", *JUDGES, *QUICK]
ROUNDING = 1e-6
"""Of cosines of float32 features: a picture's depend on how many are encoded with it, in the last bits."""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with tiny models that draw in two steps, the embedded ones that measure, and pictures."""
    here = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(here / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(here)
        tiny_models.save_diffusion(here / "diffusion")
        embedded = {k: v for k, v in asdict(open_family().models).items() if v and v != "given"}
        names = {**embedded, "diffusion": str(here / "diffusion")}
        (here / "family.yaml").write_text(yaml.safe_dump({"models": names, "steps": 2}))
        data = brought.shop()
        episodes, _ = chosen_episodes(data, EPISODES)
        users, items = data.interactions.user_ids, data.catalog.item_ids
        mine = [f"{users[e.user]}/{items[e.reference]}.png" for e in episodes[:-1]]
        others = [e for e in data.episodes if e not in episodes]
        mine.append(f"{users[others[0].user]}/{items[others[0].reference]}.png")
        brought.folder(here / "mine", mine)
        yield here


def evaluated(*argv: str, judges: Sequence[str] = TRAINED) -> int:
    models = ["--models", "family.yaml"]
    return run(evaluate.main, [*SMALL, *judges, *models, f"--episodes={EPISODES}", *argv])


@pytest.fixture(scope="module")
def done(here):
    """What one call left and printed."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        argv = ["--gen", "original,oracle,sd", "wide=sd:prompt={category},again=original"]
        assert (
            evaluated(*argv, "--images", "mine=mine", "--seeds", "0", "1", "--published", "--output=out") == 0
        )
    return results_of.load(here / "out"), out.getvalue()


def value(found: Results, variant: str, metric: str, seed: int | None = None) -> float:
    (row,) = [r for r in found.rows if (r["variant"], r["metric"], r["seed"]) == (variant, metric, seed)]
    return row["value"]


@pytest.mark.slow
def test_two_processes_give_the_same_results(here, done, tmp_path):
    """Generators and pictures are shared between them; the first one scores."""
    environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "-m",
        "recsim_gen.evaluate",
    ]
    argv = [*SMALL, *TRAINED, f"--models={here / 'family.yaml'}", f"--episodes={EPISODES}"]
    argv += ["--gen", "original,oracle,sd", "wide=sd:prompt={category},again=original", "--images"]
    argv += [f"mine={here / 'mine'}", "--seeds", "0", "1", "--published", "--output=out"]
    how = {"capture_output": True, "text": True, "timeout": 280}
    process = subprocess.run([*launch, *argv], cwd=tmp_path, env=environment, check=False, **how)
    assert process.returncode == 0, process.stderr
    one, two = done[0].rows, results_of.load(tmp_path / "out").rows
    assert [{**row, "reason": None} for row in two] == [{**row, "reason": None} for row in one]
    assert process.stdout.count("Table 2") == done[1].count("Table 2")


def test_each_generator_learns_from_its_own_judge_and_the_others_are_held_out(here, capsys):
    """The gate asks those that reward; a judge sees pictures by an encoder of its own."""
    other = "taste@brought:Backwards-seed0"
    judges = ["--judges", "taste-seed0", other, "popularity-seed0"]
    learn = "steps=1,warm_start=0,batch_size=1,noises=1,reward_steps=1,evaluate_every=1,evaluation_episodes=1"
    gen = ["--gen", f"ragar:{learn},t=ragar_taste:steps=1,batch_size=1,reward_steps=1,candidates=2"]
    call = [
        *gen,
        "--baseline=ragar",
        "--metrics=delta_r",
        "--seeds=0",
        "--output=two",
        "--tracking-uri=sqlite:///two.db",
    ]
    assert evaluated(*call, f"--reward=t={other}", judges=[*judges, "--force"]) == 0
    found = results_of.load("two")
    assert {"swap test (taste-seed0)", f"swap test ({other})"} <= set(found.verdicts)
    assert not any("popularity" in name for name in found.verdicts)
    whole = [row for row in found.rows if row["seed"] is None and row.get("block")]
    rewards = {row["variant"]: row["reward"] for row in whole}
    assert rewards == {"placebo": "", "ragar": "taste-seed0", "t": other}
    held_out = {row["metric"]: row["held_out"] for row in whole}
    assert [name for name, held in held_out.items() if held] == ["delta_r[popularity-seed0]"]
    assert f"Learned from a judge: ragar by taste-seed0; t by {other}." in capsys.readouterr().out
    assert evaluated(f"--gen=ragar:{learn}", *call[2:], judges=["--judges", "popularity-seed0"]) == 2
    assert "popularity-seed0 must not judge images" in capsys.readouterr().err


def test_every_line_has_every_metric_and_the_placebo_comes_by_itself(done):
    found, out = done
    variants = ["placebo", "original", "oracle", "sd", "wide", "again", "mine"]
    whole = [r for r in found.rows if r["seed"] is None and r.get("block") and not r.get("reason")]
    assert list(dict.fromkeys(r["variant"] for r in whole)) == variants
    metrics = {r["metric"] for r in whole}
    for measure in ("delta_r", "delta_mrr"):
        judges = ("micro-seed0", "held-out", "micro-seed1", "vbpr-seed0")
        assert {f"{measure}[{judge}]" for judge in judges} <= metrics
    assert {"category_kept", "oracle_utility", "ssim", "cis[boutique-clip]"} <= metrics
    for metric in metrics - {"diversity[boutique-clip]"}:
        assert [r["variant"] for r in whole if r["metric"] == metric] == variants
    roles = {r["variant"]: r["role"] for r in whole}
    assert roles == dict.fromkeys(("placebo", "original", "oracle", "again"), "control") | {
        "sd": "method",
        "wide": "method",
        "mine": "brought",
    }
    assert {r["settings"] for r in whole if r["variant"] == "wide"} == {"prompt={category}"}
    assert {r["scope"] for r in whole if r["metric"].startswith("delta")} == {"graph"}
    assert "**Personalisation: against the person and the history**" in out
    assert "LPIPS, reference: unavailable: needs " in out
    assert "Published numbers, to be read beside ours" in out
    assert not any(r["value"] == -19.77 for r in found.rows)


def test_laws_hold(done):
    """The own picture changes nothing, keeps all, and is the reference; equal lines have equal numbers."""
    found, _ = done
    for variant in ("original", "again"):
        for judge in ("micro-seed0", "held-out", "micro-seed1", "vbpr-seed0"):
            assert value(found, variant, f"delta_r[{judge}]") == 0
            assert value(found, variant, f"delta_mrr[{judge}]") == 0
        assert value(found, variant, "category_kept") == 1
        assert value(found, variant, "cis[boutique-clip]") == pytest.approx(1, abs=ROUNDING)
        assert value(found, variant, "ssim") == pytest.approx(1)
    assert value(found, "oracle", "oracle_utility") > value(found, "original", "oracle_utility")
    held = [value(found, "placebo", f"delta_r[{j}]") for j in ("micro-seed1", "vbpr-seed0")]
    assert value(found, "placebo", "delta_r[held-out]") == pytest.approx(np.mean(held))
    assert value(found, "placebo", "delta_r[micro-seed0]") != 0


def test_the_files_say_the_same(done, here):
    found, _ = done
    out = here / "out"
    names = {
        "results.json",
        "config.yaml",
        "recipes.json",
        "pictures.csv",
        *(f"table2.{s}" for s in ("png", "md", "tex", "csv")),
    }
    assert {p.name for p in out.iterdir()} == names
    pictures = pd.read_csv(out / "pictures.csv")
    assert len(pictures) == EPISODES * 2 * 6 + EPISODES - 1
    of_sd = pictures[pictures["variant"] == "sd"]
    assert value(found, "sd", "ssim") == pytest.approx(of_sd["ssim"].mean())
    assert value(found, "sd", "ssim", 1) == pytest.approx(of_sd.loc[of_sd["seed"] == 1, "ssim"].mean())
    recipes = {r["metric"]: r for r in json.loads((out / "recipes.json").read_text())}
    assert recipes["delta_r[micro-seed0]"]["recipe"]["weights"] == found.fingerprints["ranker micro-seed0"]
    assert recipes["lpips"]["recipe"] is not None
    status, children = tracked(here / "mlflow.db")
    assert status == "FINISHED"
    keys = [keys - {k for k in keys if k.startswith("seed_1/")} for keys in children.values()]
    assert all(k == keys[0] for k in keys)
    assert "delta_r_held-out_" in keys[0]


def test_pictures_that_were_brought_are_of_the_asked_episodes(done):
    found, _ = done
    (row,) = [r for r in found.rows if (r["variant"], r["metric"]) == ("mine", "ssim") and r["seed"] is None]
    assert row["n"] == EPISODES - 1
    assert "mine: 1 of 4 pictures are of no episode asked about" in found.notes
    assert "mine: pictures of 3 of 4 episodes" in found.notes


def test_judges_that_were_brought_are_the_first_for_reward_and_others_held_out(done, here):
    """The same rankers from folders give the same numbers; one that does not look must not judge."""
    found, _ = done
    kept = {}
    for folder in sorted((here / "cache" / "rankers").iterdir()):
        about = json.loads((folder / "config.json").read_text())
        kept[about["fingerprint"]] = folder
    names = ("micro-seed0", "vbpr-seed0")
    folders = [shutil.copytree(kept[found.fingerprints[f"ranker {n}"]], here / "kept" / n) for n in names]
    brought_judges = ["--judges", *map(str, folders)]
    call = [
        "--gen",
        "original",
        "--metrics",
        "delta_r",
        "--baseline",
        "placebo",
        "--seeds",
        "0",
        "1",
        "--quiet",
    ]
    assert evaluated(*call, "--output", "brought", judges=brought_judges) == 0
    again = results_of.load(here / "brought")
    for name in names:
        metric = f"delta_r[{name}]"
        assert value(again, "placebo", metric) == value(found, "placebo", metric)
    held = {r["judge"]: r["held_out"] for r in again.rows if r.get("judge")}
    assert held == {"micro-seed0": False, "vbpr-seed0": True}
    assert any("vbpr-seed0: whether it looks at images was not tested" in note for note in again.notes)
    beside = ["--judges", str(folders[0]), "vbpr-seed0", *QUICK]  # one brought, one trained here
    assert evaluated(*call, "--output", "beside", judges=beside) == 0
    mixed = results_of.load(here / "beside")
    assert mixed.rows == again.rows
    assert mixed.config["judges"] == beside[1:3]
    blind = Guard("modality use", "does not use", {}, "the ranker does not use the image")
    store(folders[1], blind)
    assert evaluated(*call, "--output", "refused", judges=brought_judges) == 2
    assert not (here / "refused").exists()
    assert evaluated(*call, "--output", "forced", "--force", judges=brought_judges) == 0


def test_nothing_is_trained_or_drawn_twice_and_numbers_stay(done, here, monkeypatch):
    from generators.sd import StableDiffusion
    from rankers.micro import MICRORanker

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(StableDiffusion, "draw", never)
    monkeypatch.setattr(MICRORanker, "fit", never)
    argv = ["--gen", "sd", "--metrics", "judged", "--seeds", "0", "1", "--output", "again", "--quiet"]
    assert evaluated(*argv) == 0
    again = results_of.load(here / "again")
    for metric in ("delta_r[held-out]", "oracle_utility", "category_kept"):
        assert value(again, "sd", metric) == value(done[0], "sd", metric)
    before = value(done[0], "sd", "cpis[boutique-clip]")
    assert value(again, "sd", "cpis[boutique-clip]") == pytest.approx(before, abs=ROUNDING)


def test_without_a_judge_none_is_trained(here, monkeypatch):
    from rankers.micro import MICRORanker

    monkeypatch.setattr(MICRORanker, "fit", lambda *_, **__: pytest.fail("trained"))
    argv = ["--gen", "original", "--metrics", "ssim", "--baseline", "placebo", "--seeds", "3", "--quiet"]
    assert evaluated(*argv, "--output", "plain", judges=["--judges", "micro-seed9"]) == 0
    found = results_of.load(here / "plain")
    assert {r["metric"] for r in found.rows} == {"ssim", "ssim_minus_placebo", "catalogue_copies"}


BAD = [
    (["--gen", "sdd"], "unknown generator 'sdd'. Did you mean 'sd'?"),
    (["--gen", "sd:promt=x"], "unknown setting 'promt' of generator sd. Did you mean 'prompt'?"),
    (["--gen", "ragar:k=3.5"], "setting 'k' of generator ragar must be a whole number, got '3.5'"),
    (["--gen", "original"], "--baseline must be a row of the table, got 'sd'"),
    (["--gen", "sd", "--metrics", "judgd"], "unknown metric or preset 'judgd'. Did you mean 'judged'?"),
    (["--gen", "sd", "--judges", "micro"], "a judge is NAME-seedN (micro-seed0) or a folder"),
    (["--gen", "sd", "--judges", "mcro-seed0"], "unknown ranker 'mcro'. Did you mean 'micro'?"),
    (["--gen", "sd", "--judges", "micro-seed0"], "--judges: give each value once, got micro-seed0 twice"),
    (
        ["--gen", "sd", "--judges-settings.epohcs=3"],
        "unknown setting 'epohcs' of judge micro-seed0. Did you mean 'epochs'?",
    ),
    (["--gen", "sd", "--images", "mine=nowhere"], "a folder or tar of pictures is wanted, got nothing"),
    (["--gen", "sd", "--images", "sd=mine"], "got sd twice"),
    (["--gen", "sd", "--seeds", "0", "0"], "--seeds: give each value once, got 0 twice"),
    (["--gen", "sd", "--checkpoint", "sd=mine"], "must be a trained generator"),
    (["--gen", "sd", "--metrics", "ssim", "--images", "x=broken"], "the picture cannot be decoded"),
    (["--gen", "sd", "--metrics", "ssim", "--images", "x=strange"], "unknown item 'nothing'"),
    (
        ["--gen", "sd", "--metrics", "ssim", "--images", "x=far"],
        "none of the pictures is of an episode asked",
    ),
]


@pytest.mark.parametrize(("argv", "told"), BAD, ids=[told for _, told in BAD])
def test_what_is_asked_wrongly_is_one_clear_error_and_nothing_is_written(here, capsys, argv, told):
    for name, files in {"broken": "mine", "strange": None, "far": "mine"}.items():
        if not (here / name).exists():
            if files is None:
                brought.folder(here / name, ["nothing.png"])
            else:
                shutil.copytree(here / files, here / name)
    for path in (here / "broken").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    keep_far(here / "far")
    assert evaluated(*argv, "--output", "bad") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("error: ") == 1
    assert "Traceback" not in error
    assert not (here / "bad").exists()


def keep_far(folder: Path) -> None:
    """Leave the one picture of an episode that is not asked about."""
    data = brought.shop()
    episodes, _ = chosen_episodes(data, EPISODES)
    asked = {str(data.interactions.user_ids[e.user]) for e in episodes}
    for path in folder.rglob("*.png"):
        if path.parent.name in asked:
            path.unlink()


def test_copies_of_catalogue_pictures_are_named_and_controls_are_not_accused(
    done, tmp_path, monkeypatch, capsys
):
    """Other articles' pictures, called generated: every measure takes them for good ones, words do not."""
    found, _ = done
    said = found.verdicts["again, copies"]
    assert (
        said
        == "8 of 8 are a catalogue picture (8 the item's own, 0 another item's), as is the role of a control"
    )
    assert any(
        note.startswith("no picture of placebo, oracle, sd, wide, mine is the catalogue's;")
        for note in found.notes
    )
    assert value(found, "sd", "catalogue_copies") == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    data = brought.shop()
    episodes, _ = chosen_episodes(data, EPISODES)
    users, items = data.interactions.user_ids, data.catalog.item_ids
    for e in episodes:
        place = tmp_path / "stolen" / users[e.user] / f"{items[e.reference]}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        data.catalog.images.read((e.reference + 1) % len(items)).save(place, quality=90)
    argv = [
        "--gen=original",
        f"--images=stolen={tmp_path / 'stolen'}",
        "--metrics=ssim",
        "--baseline=original",
        "--seeds",
        "0",
    ]
    assert evaluated(*argv, f"--output={tmp_path / 'copies'}") == 0
    words = "4 of 4 are a catalogue picture (0 the item's own, 4 another item's)"
    assert results_of.load(tmp_path / "copies").verdicts["stolen, copies"] == words
    assert f"stolen, copies: {words}\n" in capsys.readouterr().out
    pictures = pd.read_csv(tmp_path / "copies" / "pictures.csv").query("variant == 'stolen'")
    assert pictures["copy_of"].tolist() == [items[(e.reference + 1) % len(items)] for e in episodes]
