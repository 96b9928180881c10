"""``python -m recsim_gen.data`` as the reader runs it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from command_line import call
from PIL import Image

from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.core.registry import WRITERS
from recsim_gen.data import check, convert, show
from recsim_gen.datasets.opening import open_data

ACTIONS = {"check": check, "show": show, "convert": convert}
SMALL = ["--data-settings.n_items=100", "--data-settings.n_users=20"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A process that converted Boutique into the unified JSON, its folder, and its cache."""
    root = tmp_path_factory.mktemp("data")
    argv = ["convert", "--from", "boutique", *SMALL, "--to", "unified", "--output", "out/shop"]
    process = call("data", *argv, here=root / "here", cache=root / "cache")
    assert process.returncode == 0, process.stderr
    return process, root / "here" / "out", root / "cache"


@pytest.fixture
def shop(written, apart, monkeypatch):
    """A copy of what was written, beside a tracking store, in the working directory."""
    monkeypatch.setenv("RECSIM_CACHE", str(written[2]))
    shutil.copytree(written[1] / "shop", apart / "shop")
    shutil.copy(written[1] / "mlflow.db", apart)  # to set one up takes seconds
    return apart / "shop"


def test_convert_writes_the_layout_and_reads_it_back(written, monkeypatch):
    process, out, cache = written
    monkeypatch.setenv("RECSIM_CACHE", str(cache))
    found = results.load(out / "shop")
    assert (found.command, found.config["from"], found.config["to"]) == (
        "data_convert",
        "boutique",
        "unified",
    )
    numbers = {(row["variant"], row["metric"]): row["value"] for row in found.rows}
    for metric in ("choices", "people", "episodes", "items chosen"):
        assert numbers["from", metric] == numbers["to", metric] > 0
    assert "| metric " in process.stdout
    original, read = open_data("boutique", n_items=100, n_users=20), open_data(f"unified:{out / 'shop'}")
    for a, b in zip(original.episodes[:3], read.episodes[:3], strict=True):
        row, again = a.reference, b.reference
        assert original.catalog.captions[row] == read.catalog.captions[again]
        assert np.array_equal(original.catalog.images.read(row), read.catalog.images.read(again))


def test_its_options_as_written_convert_again(shop):
    argv = ["convert", "--config", "shop/config.yaml", "--output", "again", "--quiet"]
    assert run(ACTIONS, argv) == 0
    assert (shop.parent / "again" / "test.json").read_text() == (shop / "test.json").read_text()


def test_convert_replaces_what_it_wrote_and_nothing_else(shop, apart, capsys):
    argv = ["convert", "boutique", *SMALL, "--to", "recbole", "--quiet", "--output"]
    (apart / "notes").mkdir()
    (apart / "notes" / "mine.txt").write_text("mine")
    assert run(ACTIONS, [*argv, "notes"]) == 2
    assert capsys.readouterr().err == (
        "error: --output must be a new folder, notes exists: move it, or name another\n"
    )
    assert [p.name for p in (apart / "notes").iterdir()] == ["mine.txt"]
    assert run(ACTIONS, [*argv, "shop"]) == 0
    assert (shop / "shop.inter").exists()
    assert not (shop / "test.json").exists()
    assert results.load(shop).config["to"] == "recbole"


def test_what_cannot_be_read_back_is_told_and_can_be_written_again(shop, monkeypatch, capsys):
    def broken(dataset, folder):
        folder.mkdir()
        (folder / "test.json").write_text("[")

    argv = ["convert", "unified:shop", "--to", "unified", "--output", "again", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setitem(WRITERS, "unified", f"{__name__}:broken")
        patch.setitem(globals(), "broken", broken)
        assert run(ACTIONS, argv) == 2
    assert "again/test.json" in capsys.readouterr().err
    assert run(ACTIONS, argv) == 0


def test_a_layout_that_is_not_there_suggests(apart, capsys):
    assert run(ACTIONS, ["convert", "--to", "recbol"]) == 2
    assert "unknown layout 'recbol'. Did you mean 'recbole'? Known: unified," in capsys.readouterr().err
    assert list(apart.iterdir()) == []


def test_check_of_usable_data(shop, capsys):
    assert run(ACTIONS, ["check", "unified:shop", "--output", "report"]) == 0
    said = capsys.readouterr()
    assert "usable: yes" in said.out
    assert "not usable" not in said.err
    found = results.load("report")
    here = {row["metric"]: row["value"] for row in found.rows if row["variant"] == "here"}
    pictures = len(list((shop / "images").iterdir()))
    assert here["pictures"] == here["pictures decoded"] == pictures
    assert here["broken pictures"] == 0
    assert here["people"] == 20


def test_check_names_the_broken_picture_and_ends_with_1(shop, capsys):
    first = sorted((shop / "images").iterdir())[0]
    first.write_bytes(first.read_bytes()[:60])
    assert run(ACTIONS, ["check", "unified:shop", "--output", "report", "--quiet"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("not usable: 1 pictures cannot be decoded, first ")
    assert first.name in err
    assert results.load("report").verdicts["usable"].startswith("no: 1 pictures cannot be decoded")


def _cut(file):
    file.write_bytes(file.read_bytes()[:100])


def _escape(file):
    records = json.loads(file.read_text())
    records[0]["target_item_info"]["image_path"] = "../../secret.png"
    file.write_text(json.dumps(records))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(_cut, "shop/test.json"), (_escape, "secret.png"), (lambda f: f.unlink(), "test.json")],
)
def test_check_of_data_that_cannot_be_opened_is_one_line_and_1(shop, spoil, told, capsys):
    spoil(shop / "test.json")
    assert run(ACTIONS, ["check", "unified:shop", "--output", "report"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("not usable: ")
    assert err.count("\n") == 1
    assert told in err
    assert told in results.load("report").verdicts["usable"]


def test_a_mistake_on_the_command_line_is_2(apart, capsys):
    assert run(ACTIONS, ["check", "boutiqe"]) == 2
    assert "unknown data 'boutiqe'. Did you mean 'boutique'?" in capsys.readouterr().err
    assert run(ACTIONS, ["show", "boutique", "--items", "-1"]) == 2
    assert "items and episodes must be 0 or more, one of them 1, got -1 and 5" in capsys.readouterr().err
    assert list(apart.iterdir()) == []


def test_show_draws_items_and_a_row_for_each_episode(shop, capsys):
    argv = ["show", "unified:shop", "--items", "7", "--quiet", "--output"]
    sizes = {}
    for episodes in (0, 1, 2):
        assert run(ACTIONS, [*argv, f"s{episodes}", "--episodes", str(episodes)]) == 0
        sizes[episodes] = Image.open(f"s{episodes}/data.png").size
    assert sizes[0][0] == sizes[1][0] == sizes[2][0]
    assert sizes[2][1] - sizes[1][1] == sizes[1][1] - sizes[0][1] > 140
    assert "s2/data.png" in capsys.readouterr().out
    shown = {row["variant"]: row["value"] for row in results.load("s2").rows}
    assert shown == {"items": 7, "episodes": 2}


def test_show_depends_on_the_seed_alone(shop):
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        argv = ["show", "unified:shop", "--items=5", "--episodes=1", "--quiet", "--seed", seed]
        assert run(ACTIONS, [*argv, "--output", name]) == 0
    a, b, c = (np.asarray(Image.open(f"{name}/data.png")) for name in "abc")
    assert np.array_equal(a, b)
    assert a.shape != c.shape or not np.array_equal(a, c)
