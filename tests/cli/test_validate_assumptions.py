"""``python -m recsim_gen.validate_assumptions`` as the reader runs it."""

from __future__ import annotations

import json
import shutil
import signal
import time

import numpy as np
import pytest
from command_line import BOUTIQUE, call, start, tracked
from PIL import Image

from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.datasets.opening import open_data
from recsim_gen.experiments.assumptions import CONTROLS, VARIANTS
from recsim_gen.validate_assumptions import main

COMMAND = "validate_assumptions"
SMALL = [*BOUTIQUE, "--seeds", "0", "1", "--draws=2"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One undisturbed run; (process, its folder)."""
    root = tmp_path_factory.mktemp("undisturbed")
    process = call(COMMAND, *SMALL, "--output=out", here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here"


def test_results_have_every_variant_metric_and_seed(done):
    found = results.load(done[1] / "out")
    assert found.command == COMMAND
    assert found.config["seeds"] == [0, 1]
    assert found.config["ranker_settings"] == {"epochs": 3, "embedding_size": 16}
    assert set(found.fingerprints) == {"data", "features", "ranker seed 0", "ranker seed 1"}
    frame = found.frame()
    plain = frame[frame["metric"].isin(["recall@10", "ndcg@10"])]
    assert len(plain) == len(VARIANTS) * 2 * 3
    assert set(plain["variant"]) == set(VARIANTS)
    assert set(plain["seed"].dropna()) == {0, 1}
    assert plain["seed"].isna().sum() == len(VARIANTS) * 2
    assert plain["value"].between(0, 1).all()
    assert (plain["low"] <= plain["value"]).all()
    assert (plain["value"] <= plain["high"]).all()
    assert (plain["n"] == 60).all()
    differences = frame[frame["metric"].str.contains("_minus_")]
    assert len(differences) == 6 * 2 * 3
    assert {f"recall@10_minus_{worse}" for _, worse in CONTROLS} <= set(differences["metric"])
    assert differences["p_holm"].between(0, 1).all()
    assert set(found.verdicts) == {"assumption 1", "assumption 2"}
    for text in found.verdicts.values():
        assert text.startswith(("holds (", "does not hold (", "undecided ("))
        assert "by seed: " in text
    assert any("simulated shop" in note for note in found.notes)


def test_seeds_pool_to_their_mean(done):
    frame = results.load(done[1] / "out").frame()
    for _, part in frame[frame["metric"] == "ndcg@10"].groupby("variant"):
        assert part.loc[part["seed"].isna(), "value"].item() == pytest.approx(
            part["value"].dropna()[:2].mean()
        )


def test_the_table_the_verdicts_and_the_paths_are_printed(done):
    printed = done[0].stdout
    for word in (
        *VARIANTS,
        "recall@10",
        "ndcg@10",
        "assumption 1",
        "results.json",
        "mlflow",
        "--backend-store-uri",
    ):
        assert word in printed
    assert "Traceback" not in done[0].stderr
    assert "Warning" not in done[0].stderr


def test_the_figure_and_nothing_else_is_written_beside_the_results(done):
    files = {p.name for p in (done[1] / "out").iterdir()}
    assert files == {"results.json", "config.yaml", "assumptions.png", "assumptions.svg"}
    assert {p.name for p in done[1].iterdir()} == {"out", "mlflow.db", "mlartifacts"}
    assert Image.open(done[1] / "out" / "assumptions.png").size[0] > 300


def test_mlflow_has_a_run_for_each_variant_under_equal_keys(done):
    status, children = tracked(done[1] / "mlflow.db")
    assert status == "FINISHED"
    assert set(children) == set(VARIANTS)
    assert {"recall_at_10", "recall_at_10_low", "ndcg_at_10", "seed_1/ndcg_at_10"} <= children["ret"]
    assert len({frozenset(keys) for keys in children.values()}) == 1


def test_killed_while_training_and_started_again_it_finds_the_same(done, tmp_path):
    """And what it is given by a file is what it is given by options."""
    config = {
        "data": "boutique",
        "data_settings": {"n_items": 120, "n_users": 60},
        "settings": {"epochs": 3, "embedding_size": 16},
        "seeds": [0, 1],
        "draws": 5,
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    argv = ["--config", str(tmp_path / "c.yaml"), "--draws=2", "--output=out", "--quiet"]
    where = {"here": tmp_path / "here", "cache": tmp_path / "cache"}
    where["here"].mkdir()  # spare it what is not the point: setting up a database, drawing pictures
    shutil.copy(done[1] / "mlflow.db", where["here"])
    shutil.copytree(done[1].parent / "cache", where["cache"], ignore=shutil.ignore_patterns("rankers"))
    process = start(COMMAND, *argv, **where)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cache" / "rankers").glob("*/config.json")):  # the first seed's ranker
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "here" / "out" / "results.json").exists()
    again = call(COMMAND, *argv, **where)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    mine, undisturbed = (results.load(folder / "out") for folder in (tmp_path / "here", done[1]))
    assert mine.rows == undisturbed.rows
    assert mine.fingerprints == undisturbed.fingerprints
    assert mine.verdicts == undisturbed.verdicts


@pytest.mark.recbole
def test_text_alone_is_enough(done, apart):
    shutil.copy(done[1] / "mlflow.db", apart)
    argv = ["--data=ml-100k", "--encoders.text=words", "--settings.epochs=1", "--seeds", "0", "--draws=1"]
    assert run(main, [*argv, "--output=out"]) == 0
    found = results.load(apart / "out")
    assert {row["variant"] for row in found.rows} == set(VARIANTS)
    assert any("no pictures, text only" in note for note in found.notes)
    assert {row["n"] for row in found.rows} == {len(open_data("ml-100k").episodes)}


def movielens(folder, films: int = 60, people: int = 12, each: int = 24):
    """A small MovieLens with two films without poster."""
    draw = np.random.default_rng(0)
    (folder / "posters").mkdir(parents=True)
    lines = [
        f'{m},"Film, The {m} ({1980 + m % 30})",{"Drama|War" if m % 2 else "Comedy"}'
        for m in range(1, films + 1)
    ]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]))
    rows = [
        f"{u},{m},4.0,{1000 + t}"
        for u in range(1, people + 1)
        for t, m in enumerate(1 + draw.permutation(films)[:each])
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]))
    for m in range(3, films + 1):
        Image.new("RGB", (24, 36), tuple(draw.integers(256, size=3).tolist())).save(
            folder / "posters" / f"{m}.png"
        )
    return folder


def test_retraining_for_every_variant_on_movielens(done, apart):
    shutil.copy(done[1] / "mlflow.db", apart)
    folder = movielens(apart / "ml")
    argv = [f"--data=movielens:{folder}", "--data-settings.sequence_length=12", "--protocol=retrain", "--k=2"]
    argv += ["--encoders.image=pixels", "--encoders.text=words", "--settings.epochs=1", "--seeds", "3"]
    assert run(main, [*argv, "--output=out"]) == 0
    found = results.load(apart / "out")
    assert {name for name in found.fingerprints if name.startswith("ranker")} == {
        f"ranker {variant} seed 3" for variant in VARIANTS
    }
    assert len({found.fingerprints[f"ranker {variant} seed 3"] for variant in VARIANTS}) == len(VARIANTS)
    assert {row["n"] for row in found.rows} == {24}
    assert any("2 films without poster" in note for note in found.notes)


def test_bad_data_ends_with_one_line_and_nothing_written(tmp_path):
    folder = movielens(tmp_path / "ml")
    ratings = (folder / "ratings.csv").read_text().replace("userId,movieId,rating", "userId,movieId,stars")
    (folder / "ratings.csv").write_text(ratings)
    done = call(COMMAND, f"--data=movielens:{folder}", here=tmp_path / "here", cache=tmp_path / "cache")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {folder / 'ratings.csv'}")
    assert "rating" in done.stderr
    assert list((tmp_path / "here").iterdir()) == []
    assert not (tmp_path / "cache").exists()


def test_a_text_file_among_the_posters_is_named_and_no_features_are_kept(apart, capsys):
    folder = movielens(apart / "ml")
    (folder / "posters" / "5.png").write_text("no picture")
    argv = [f"--data=movielens:{folder}", "--data-settings.sequence_length=12", "--encoders.image=pixels"]
    assert run(main, [*argv, "--encoders.text=words", "--output=out"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {folder / 'posters' / '5.png'}: a picture is wanted")
    assert "Replace it" in error
    assert not (apart / "out").exists()
    assert {p.parent.name for p in (apart.parent / "cache").rglob("*.*")} <= {"image-digests"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "botique"], "unknown data 'botique'. Did you mean 'boutique'?"),
        (["--settings.epohcs", "3"], "unknown setting 'epohcs' of ranker micro. Did you mean 'epochs'?"),
        (["--settings.epochs", "ten"], "--settings.epochs must be a whole number, got 'ten'"),
        (["--ranker-settings.epochs", "3.5"], "--ranker-settings.epochs must be a whole number, got '3.5'"),
        (["--settings.epochs", "0"], "epochs must be at least 1, got 0"),
        (["--settings.learning_rate", "-"], "--settings.learning_rate must be a number, got '-'"),
        (
            ["--ranker", "micro:published"],
            "unknown recipe 'published' of micro. Did you mean 'published-code'?",
        ),
        (["--ranker", "mcro"], "unknown ranker 'mcro'. Did you mean 'micro'?"),
        (["--encoders.txt", "words"], "unknown modality 'txt'. Did you mean 'text'?"),
        (["--encoders.text", "none"], "--encoders.text must be given, got encoders of ['image']"),
        (
            ["--data-settings.n_itms", "120"],
            "unknown setting 'n_itms' of data boutique. Did you mean 'n_items'?",
        ),
        (
            ["--data", "ml-100k", "--data-settings.sequence_length", "six"],
            "--data-settings.sequence_length must be a whole number, got 'six'",
        ),
        (
            ["--data", "ml-100k", "--data-settings.sequence_length", "6.5"],
            "--data-settings.sequence_length must be a whole number, got '6.5'",
        ),
        (["--k", "50"], "histories of at least 2k = 100 items, the longest has"),
        (["--draws", "0"], "draws must be at least 1"),
        (
            ["--protocol", "folding"],
            "--protocol must be one of fold-in, retrain, got 'folding'. Did you mean 'fold-in'?",
        ),
        (["--sedes", "1"], "unknown option --sedes. Did you mean '--seeds'?"),
    ],
    ids=lambda x: "=".join(x) if isinstance(x, list) else "",
)
def test_what_cannot_be_done_is_told_with_what_to_do(argv, message, done, apart, capsys):
    shutil.copy(done[1] / "mlflow.db", apart)  # to set one up takes seconds
    data = [] if "--data" in argv else ["--data-settings.n_items=120", "--data-settings.n_users=20"]
    data += [] if any("encoders" in word for word in argv) else ["--encoders.text=words"]
    assert run(main, [*data, *argv, "--output=out", "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.out == ""
    assert not (apart / "out" / "results.json").exists()


def test_a_rate_in_scientific_notation_is_a_number(apart, capsys):
    """YAML takes 1e-3 for text."""
    assert run(main, ["--settings.learning_rate", "1e-3", "--data", "botique"]) == 2
    assert "unknown data" in capsys.readouterr().err  # settings are looked at first, and were fine


def test_its_own_file_of_options_repeats_it(done, apart):
    """``--config runs/x/config.yaml --output other``; the rankers are trained anew, in another cache."""
    shutil.copy(done[1] / "mlflow.db", apart)
    assert run(main, ["--config", str(done[1] / "out" / "config.yaml"), "--output", "other", "--quiet"]) == 0
    again, first = results.load(apart / "other"), results.load(done[1] / "out")
    assert again.rows == first.rows
    assert again.verdicts == first.verdicts
    assert again.fingerprints == first.fingerprints
    assert again.config == {**first.config, "output": "other", "quiet": True}
