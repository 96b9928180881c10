"""``python -m recsim_gen.aux_rec`` as the reader runs it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from command_line import call, tracked
from PIL import Image

from recsim_gen.aux_rec import main
from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.datasets.opening import open_data
from recsim_gen.experiments.auxiliary.training import METRICS
from recsim_gen.testing import tiny_models

WORLD = ["--data-settings.n_items=80", "--data-settings.n_users=30"]
RANKER = ["--settings.epochs=2", "--settings.embedding_size=8", "--settings.knn_k=4"]
SMALL = [*WORLD, *RANKER, "--gen=sd", "--items=6", "--each=1", "--seeds", "0"]
POLICIES = ["--leakage", "strict", "paper", "--fraction", "0.5", "1"]
SHUFFLED = ["shuffled_sd", "shuffled_oracle"]
VARIANTS = ["original", "sd", "oracle", "placebo", *SHUFFLED, "mean_feature", "noise"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A family of tiny models that draw in two steps."""
    folder = tmp_path_factory.mktemp("models")
    tiny_models.save_diffusion(folder / "diffusion")
    (folder / "family.yaml").write_text("models:\n  diffusion: ./diffusion\nsteps: 2\n")
    return folder


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    """One undisturbed run: (process, its folder, its cache)."""
    root = tmp_path_factory.mktemp("aux_rec")
    argv = [*SMALL, *POLICIES, f"--models={models}", "--published", "--output=out"]
    process = call("aux_rec", *argv, here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here", root / "cache"


@pytest.fixture
def there(done, apart, monkeypatch, empty_store):
    """An own copy of what that run left in its cache, and a new store."""
    shutil.copytree(done[2], apart.parent / "cache", dirs_exist_ok=True)
    shutil.copy(empty_store, apart)
    return apart


def same(a, b) -> bool:
    """Whether two ``results.json`` are alike but for times, paths and what the process ran on."""
    one, two = (json.loads((folder / "results.json").read_text()) for folder in (a, b))
    return all(one[key] == two[key] for key in ("rows", "verdicts", "notes", "fingerprints"))


def test_every_policy_fraction_variant_metric_and_seed_has_its_row(done):
    found = results.load(done[1] / "out")
    frame = found.frame()
    plain = frame[frame["metric"].isin(METRICS)]
    blocks = plain.groupby(["leakage", "fraction"], sort=False)
    assert [key for key, _ in blocks] == [("strict", 0.5), ("strict", 1.0), ("paper", 0.5), ("paper", 1.0)]
    for _, block in blocks:
        assert list(dict.fromkeys(block["variant"])) == VARIANTS
        assert (block.groupby(["variant", "metric"]).size() == 2).all()  # the seed, and over all
        assert (block["n"] == 30).all()
    assert plain["value"].between(0, 1).all()
    assert (plain["low"] <= plain["high"]).all()
    assert set(frame["aggregate"]) == {"mean"}
    assert {"ranker seed 0", "generator sd", "pictures sd strict", "pictures placebo paper"} <= set(
        found.fingerprints
    )
    assert {name.partition(" (")[0] for name in found.verdicts} == set(VARIANTS) - {"original"}
    assert any(note.startswith("known truth: oracle reads the tastes") for note in found.notes)
    assert any(note.startswith("world own: people chose by the items' own pictures") for note in found.notes)
    assert set(frame["world"]) == {"own"}
    assert sum("leaky" in note for note in found.notes) == 1
    assert any("6 of 80 items replaced" in note for note in found.notes)
    cold = frame[frame["metric"].str.endswith(("_cold", "_warm"))]
    assert set(cold["variant"]) == set(VARIANTS)


def test_the_table_marks_the_leaky_policy(done):
    process, here, _ = done
    ours, _, published = process.stdout.partition("Table 4")
    lines = [x for x in ours.splitlines() if x.startswith("|")]
    assert len(lines) == 2 + 4 * len(VARIANTS)
    assert "0.1927" in published  # beside ours, never among them
    assert "0.1927" not in (here / "out" / "results.json").read_text()
    assert sum("paper: leaky" in x for x in lines) == 2 * len(VARIANTS)
    assert sum("oracle (known truth)" in x for x in lines) == 4
    for word in (*METRICS, "strict", "helps", "results.json", "auxiliary.png", "--backend-store-uri"):
        assert word in process.stdout or word == "helps"
    assert "Traceback" not in process.stderr
    with Image.open(here / "out" / "auxiliary.png") as image:
        assert image.size[0] > 1000
    sheets = {p.name for p in (here / "out").glob("pictures_*.png")}
    assert sheets == {
        f"pictures_{v}_{policy}.png" for v in ("sd", "oracle", "placebo") for policy in ("strict", "paper")
    }


def test_children_have_equal_keys_in_mlflow(done):
    status, children = tracked(done[1] / "mlflow.db")
    assert status == "FINISHED"
    assert set(children) == set(VARIANTS)
    with sqlite3.connect(done[1] / "mlflow.db") as connection:
        models = connection.execute("select name, status from logged_models").fetchall()
    assert [name for name, _ in models] == ["ranker-seed0"] * len(VARIANTS)
    table = {k for k in children["original"] if "recall_at_10" in k and "seed" not in k}
    assert "strict/0.5/recall_at_10" in table
    assert "paper: leaky/1.0/recall_at_10_high" in table
    for keys in children.values():
        assert table <= keys


def test_killed_at_any_stage_it_ends_with_the_same_results(models, done, there, monkeypatch):
    """Stages are found again by their content: after each kill less is left to do."""
    from recsim_gen.artifacts import drawn_images as generated
    from recsim_gen.experiments.auxiliary import training as auxiliary_training

    shutil.rmtree(there.parent / "cache")
    argv = [*SMALL, *POLICIES, f"--models={models}", "--output=out", "--quiet"]

    def killed_after(module, name, times):
        calls, real = [], getattr(module, name)

        def killed(*args, **kwargs):
            if len(calls) == times:
                raise KeyboardInterrupt
            calls.append(1)
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            assert run(main, argv) == 130
        assert not (there / "out").exists()

    killed_after(generated, "write_image", 3)
    killed_after(generated, "write_image", 5)
    killed_after(auxiliary_training, "trained_ranker", 4)

    drawn = []
    monkeypatch.setattr(generated, "write_image", lambda *a: drawn.append(a))
    assert run(main, argv) == 0
    assert not drawn
    assert same(there / "out", done[1] / "out")


@pytest.mark.slow
def test_two_processes_give_the_same_results(models, done, tmp_path):
    environment = {**os.environ, "RECSIM_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "recsim_gen.aux_rec"]
    argv = [*launch, *SMALL, *POLICIES, f"--models={models}", "--output=out"]
    how = {"capture_output": True, "text": True, "timeout": 280}
    process = subprocess.run(argv, cwd=tmp_path, env=environment, check=False, **how)
    assert process.returncode == 0, process.stderr
    assert same(tmp_path / "out", done[1] / "out")
    assert process.stdout.count("| variant") == 1


def test_a_planted_leak_is_refused(there, models, monkeypatch, capsys):
    """A picture for a test pair among those of training pairs, however it came there."""
    from recsim_gen.experiments.auxiliary import conditions as auxiliary_conditions
    from recsim_gen.experiments.auxiliary import drawing as auxiliary_drawing

    argv = [*SMALL, f"--models={models}", "--output=out"]
    real = auxiliary_conditions.training_episodes
    with monkeypatch.context() as patch:
        patch.setattr(
            auxiliary_conditions, "training_episodes", lambda d, least: (*real(d, least=least), *d.episodes)
        )
        assert run(main, argv) == 2
    assert "leakage strict: pictures must be made from training pairs alone" in capsys.readouterr().err
    draw = auxiliary_drawing.images_for

    def planted(generator, dataset, episodes, *, seed):
        manifest = draw(generator, dataset, episodes, seed=seed)
        file, made = next(iter(manifest.images.items()))
        test = dataset.episodes[0]
        ids, users = dataset.catalog.item_ids, dataset.interactions.user_ids
        leak = replace(made, episode=test.id, user=str(users[test.user]), item=str(ids[test.reference]))
        shutil.copy(manifest.folder / file, manifest.folder / "planted.png")
        return replace(manifest, images={**manifest.images, "planted.png": leak})

    monkeypatch.setattr(auxiliary_drawing, "images_for", planted)
    assert run(main, argv) == 2
    assert "of the test split" in capsys.readouterr().err
    assert not (there / "out").exists()


def test_without_generators_and_with_a_placebo_that_was_brought(there, capsys):
    """As on real data: pictures for some of the items, named by them."""
    shop = open_data("boutique", n_items=80, n_users=30)
    draw = np.random.default_rng(0)
    for item in shop.catalog.item_ids[:60]:
        (there / "other").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), tuple(draw.integers(256, size=3).tolist())).save(
            there / "other" / f"{item}.png"
        )
    argv = [*WORLD, *RANKER, "--gen=none", "--no-truth", "--placebo=other", "--seeds", "0", "--output=out"]
    assert run(main, argv) == 2
    assert "say --placebo-is-real" in capsys.readouterr().err
    assert not (there / "out").exists()
    assert run(main, [*argv, "--placebo-is-real"]) == 0
    found = results.load(there / "out")
    assert list(dict.fromkeys(r["variant"] for r in found.rows)) == [
        "original",
        "placebo",
        "shuffled",
        "mean_feature",
        "noise",
    ]
    assert {(r["leakage"], r["fraction"]) for r in found.rows} == {("strict", 1.0)}
    assert any(n.startswith("placebo (strict): pictures of ") for n in found.notes)
    assert "leaky" not in capsys.readouterr().out


def test_both_policies_replace_the_same_items(there, models, monkeypatch):
    from recsim_gen.experiments.auxiliary import conditions as auxiliary_conditions

    made, real = [], auxiliary_conditions.conditions
    monkeypatch.setattr(
        auxiliary_conditions, "conditions", lambda *a, **k: made.append(real(*a, **k)) or made[-1]
    )
    assert run(main, [*SMALL, *POLICIES, f"--models={models}", "--output=out", "--quiet"]) == 0
    strict, paper = made
    assert strict.items.tolist() == paper.items.tolist()
    notes = results.load(there / "out").notes
    assert any(note.startswith("both policies replace the same items") for note in notes)


def test_both_worlds_stand_in_one_table(apart, empty_store, capsys):
    """People choose by what the shop shows; the ranker learns from what was shown, or from the items' own."""
    shutil.copy(empty_store, apart)
    argv = [*WORLD, *RANKER, "--gen=none", "--no-truth", "--items=30", "--seeds", "0", "1", "--output=out"]
    assert run(main, [*argv, "--gen=oracle", "--world", "own", "shown"]) == 0
    found = results.load(apart / "out")
    frame = found.frame()
    frame = frame[frame["metric"] == "recall@10"]
    shown = frame[frame["world"] == "shown"]
    names = ["oracle: own pictures", "oracle", "placebo: own pictures", "placebo"]
    assert list(dict.fromkeys(shown["variant"])) == names
    assert (shown.groupby("variant").size() == 3).all()
    assert set(frame[frame["world"] == "own"]["variant"]) > {"original", "oracle", "noise"}
    # The placebo shows the item's look: people choose as they did, and the rankers are the own world's.
    for variant, own in (("placebo", "placebo"), ("placebo: own pictures", "original")):
        one = shown[(shown["variant"] == variant) & shown["seed"].isna()]["value"].item()
        other = frame[(frame["world"] == "own") & (frame["variant"] == own) & frame["seed"].isna()]["value"]
        assert one == other.item()
    assert any("people chose by what was shown" in name for name in found.verdicts)
    assert any(note.startswith("world shown: people chose again") for note in found.notes)
    assert "| world " in capsys.readouterr().out
    assert (apart / "out" / "auxiliary_shown.png").is_file()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--world", "shown", "shown"], "world: give each value once"),
        pytest.param(
            ["--world=shown", "--data=ml-100k", "--encoders.text=words"],
            "--world shown: people choose again by what they see",
            marks=pytest.mark.recbole,
        ),
        (["--gen=orcle"], "unknown generator 'orcle'. Did you mean 'oracle'?"),
        (["--gen=sd:promt=x"], "unknown setting 'promt' of generator sd. Did you mean 'prompt'?"),
        (["--gen=noise=oracle"], "'noise' is the name of a control"),
        (["--fraction", "0"], "fraction must be above 0 and at most 1, got 0"),
        (["--fraction", "0.5", "1.5"], "fraction must be above 0 and at most 1, got 1.5"),
        (["--fraction", "0.5", "0.5"], "fraction: give each value once"),
        (["--aggregate=median"], "aggregate"),
        (["--leakage", "strict", "lax"], "leakage"),
        (["--leakage=strict", "--leakage=strict"], "leakage: give each value once"),
        (["--seeds", "1", "1"], "seeds: give each value once"),
        (["--items=-1"], "items must be 0 or more, got -1"),
        (["--items=1"], "at least 2 items with a picture and a training episode"),
        (["--placebo=nowhere"], "nowhere"),
        (["--settings.epohcs=3"], "unknown setting 'epohcs' of ranker micro. Did you mean 'epochs'?"),
        (["--least-history=-1"], "least_history must be 0 or more, got -1"),
        (["--history=3"], "unknown option --history"),
        (["--ranker=mcro"], "unknown ranker 'mcro'. Did you mean 'micro'?"),
        (["--data=botique"], "unknown data 'botique'. Did you mean 'boutique'?"),
        (["--encoders.image=none"], "data with pictures and an encoder of them is wanted"),
        pytest.param(
            ["--data=ml-100k", "--encoders.text=words"],
            "data with pictures and an encoder of them is wanted, ml-100k has features of",
            marks=pytest.mark.recbole,
        ),
        (["--models=embeded"], "Did you mean 'embedded'?"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_told_with_what_to_do(argv, message, there, capsys):
    data = [] if any("--data=" in word for word in argv) else WORLD
    assert run(main, [*data, *argv, "--output=out", "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.out == ""
    assert not (there / "out").exists()
