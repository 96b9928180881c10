"""A shop of one's own, from its files to a page of comparisons, as the reader goes."""

from __future__ import annotations

import shutil

import pytest
import toy_shop

from recsim_gen import evaluate, report, train_ranker, validate_assumptions
from recsim_gen.core import results
from recsim_gen.core.config import run
from recsim_gen.data import check, new
from recsim_gen.datasets.opening import open_data

ACTIONS = {"check": check, "new": new}


@pytest.fixture
def here(apart, empty_store):
    """A working directory with a tracking store, which takes seconds to set up."""
    (apart / "runs").mkdir()
    shutil.copy(empty_store, apart / "runs" / "mlflow.db")
    return apart


def test_three_files_go_to_a_page_in_five_commands(here, capsys):
    toy_shop.as_csv(here / "shop")
    shop = "--data csv:shop --encoders.image pixels --encoders.text words --seeds 0 "
    quick = "-settings.epochs 2 --{0}-settings.embedding_size 8"
    commands = [
        (ACTIONS, "check csv:shop"),
        (train_ranker.main, f"{shop} --ranker popularity taste"),
        (validate_assumptions.main, f"{shop} --k 3 --ranker{quick.format('ranker')}"),
        (
            evaluate.main,
            f"{shop} --gen original,sd --metrics delta_r --episodes 4 --force --judges micro-seed0 "
            f"--judges{quick.format('judges')}",
        ),
        (report.main, ""),
    ]
    for main, argv in commands:
        assert run(main, argv.split()) == 0, capsys.readouterr().err
    page = (here / "runs" / "report.html").read_text(encoding="utf-8")
    for command in ("data_check", "train_ranker", "validate_assumptions", "evaluate"):
        assert command in page
    said = "the embedded models were trained on boutique alone"
    assert [note for note in results.load("runs/evaluate").notes if note.startswith(said)]
    assert not [note for note in results.load("runs/train_ranker").notes if note.startswith(said)]


def test_the_example_can_be_used_and_its_columns_are_explained(here, capsys):
    assert run(ACTIONS, ["new", "mine"]) == 0
    assert capsys.readouterr().out == "mine\n"
    readme = (here / "mine" / "README.txt").read_text()
    for name in ("id", "title", "category", "caption", "image", "user", "item", "time", "weight", "split"):
        assert f"\n  {name} " in readme
    data = open_data("csv:mine")
    assert data.catalog.images.present.all()
    assert len(data.episodes) == data.interactions.n_users
    assert run(ACTIONS, ["check", "csv:mine"]) == 0
    assert capsys.readouterr().out.startswith("usable: yes\n")
    assert run(ACTIONS, ["new", "mine"]) == 2
    assert "must be a new folder, mine exists" in capsys.readouterr().err


def blurred(shop):
    rows = toy_shop.items()
    rows[0]["title"] = "LÃ¡mpara roja"
    toy_shop.write_table(shop / "items.csv", rows)


def doubled(shop):
    shutil.copy(shop / "images" / "mug1.png", shop / "images" / "rug2.png")


def broken(shop):
    (shop / "images" / "mug1.png").write_bytes(toy_shop.picture(1)[:60])


def timeless(shop):
    rows = [{"user": row["user"], "item": row["item"]} for row in toy_shop.log()]
    toy_shop.write_table(shop / "interactions.csv", rows)


def nameless(shop):
    toy_shop.write_table(shop / "items.csv", [{**row, "title": ""} for row in toy_shop.items()])


def strange(shop):
    toy_shop.write_table(shop / "interactions.csv", [*toy_shop.log(), {**toy_shop.log()[0], "item": "gone"}])


DEFECTS = {
    "pictures elsewhere": (
        lambda shop: (shop / "images").rename(shop / "photos"),
        "no pictures: looked for images/, images.tar, images.tar.gz, images.zip, also numbered "
        "(images_1.tar); there is photos/ with 36 pictures",
    ),
    "a picture lacks": (lambda shop: (shop / "images/mug1.png").unlink(), "1 of 36 items without picture"),
    "a picture of nothing": (
        lambda shop: shutil.copy(shop / "images/mug1.png", shop / "images/cup.png"),
        "1 pictures are of no item of the table, such as cup.png",
    ),
    "equal pictures": (doubled, "byte-identical pictures: mug1 = rug2"),
    "a broken picture": (broken, "1 pictures cannot be decoded, first "),
    "another encoding": (blurred, "text of another encoding, by item: lamp0"),
    "no times": (timeless, "interactions.csv has no times"),
    "no titles": (nameless, "items.csv: 36 of 36 items without title"),
    "an unknown item": (strange, "(1 rows) are not in items.csv, such as 'gone'"),
    "no items": (
        lambda shop: (shop / "items.csv").rename(shop / "products.csv"),
        "a table of items is wanted: looked for items.csv and items.tsv",
    ),
    "no choices": (
        lambda shop: (shop / "interactions.csv").unlink(),
        "a table of interactions is wanted: looked for interactions.csv and interactions.tsv",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_check_names_a_defect_in_its_first_five_lines(defect, here, capsys):
    spoil, told = DEFECTS[defect]
    spoil(toy_shop.as_csv(here / "shop"))
    run(ACTIONS, ["check", "csv:shop"])
    said = capsys.readouterr()
    assert told in "\n".join([*said.err.splitlines()[-1:], *said.out.splitlines()[:5]])


def test_check_says_that_the_embedded_models_know_another_shop(here, capsys):
    toy_shop.as_csv(here / "shop")
    assert run(ACTIONS, ["check", "csv:shop"]) == 0
    said = capsys.readouterr().out
    assert "the embedded models were trained on boutique alone" in said
    assert "recsim_gen.pretrain" in said
    assert "--models paper" in said
    assert run(ACTIONS, ["check", "boutique", "--data-settings.n_items=90", "--data-settings.n_users=9"]) == 0
    assert "embedded models" not in capsys.readouterr().out
