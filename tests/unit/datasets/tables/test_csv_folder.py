"""A shop of one's own: what is guessed, what is said of it, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import toy_shop

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.opening import open_data


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shop(tmp_path):
    return toy_shop.as_csv(tmp_path / "shop")


def renamed(rows, **names):
    return [{names.get(column, column): value for column, value in row.items()} for row in rows]


def opened(shop, **settings):
    return open_data(f"csv:{shop}", **settings)


def refusal(shop, **settings):
    with pytest.raises((DataError, SettingError)) as caught:
        opened(shop, **settings)
    return str(caught.value)


def said(data, text):
    return [note for note in data.notes if text in note]


def test_people_are_not_cut_and_the_last_choice_of_each_is_asked_for(shop):
    data = opened(shop)
    assert sorted(data.interactions.user_ids) == sorted({row["user"] for row in toy_shop.log()})
    assert len(data.episodes) == toy_shop.PEOPLE
    last = {}
    for row in sorted(toy_shop.log(), key=lambda row: row["time"]):
        last[row["user"]] = row["item"]
    assert {e.source_user: data.catalog.item_ids[e.reference] for e in data.episodes} == last


def test_captions_are_neutral_words_of_title_and_category(shop):
    rows = [{"id": "a1", "title": "Aurora", "category": "lamp", "material": "steel", "caption": ""}]
    rows += [{"id": "a2", "title": "Red lamp", "category": "lamp", "material": "", "caption": ""}]
    rows += [{"id": "a3", "title": "", "category": "mug", "material": "", "caption": "a mug with a bird"}]
    rows += [{"id": "a4", "title": "", "category": "", "material": "", "caption": ""}]
    toy_shop.write_table(shop / "items.csv", rows)
    ids = [row["id"] for row in rows]
    log = [{"user": f"u{u}", "item": ids[(u + k) % 4]} for u in range(4) for k in range(3)]
    toy_shop.write_table(shop / "interactions.csv", log)
    catalog = opened(shop, images="none").catalog
    assert catalog.captions.tolist() == ["Aurora, lamp", "Red lamp", "a mug with a bird", "item a4"]
    assert catalog.titles.tolist() == ["Aurora", "Red lamp", "item a3", "item a4"]
    assert catalog.categories.tolist() == ["lamp", "lamp", "mug", "no category"]
    assert opened(shop, images="none", words="material").catalog.captions[0] == "Aurora, lamp, steel"
    assert "words must be columns of items.csv, got 'materal'" in refusal(shop, words="materal")


@pytest.mark.parametrize(
    ("items", "log"),
    [
        ({"id": "item_id", "title": "Name", "category": "Genres"}, {"user": "userId", "time": "timestamp"}),
        ({"id": "Product ID", "title": "product_name"}, {"user": "customer_id", "item": "productId"}),
        ({"id": "ASIN", "category": "main_category"}, {"user": "reviewerID", "item": "asin", "time": "ts"}),
    ],
)
def test_common_names_of_columns_are_known(shop, items, log):
    whole = opened(shop).fingerprint
    toy_shop.write_table(shop / "items.csv", renamed(toy_shop.items(), **items))
    toy_shop.write_table(shop / "interactions.csv", renamed(toy_shop.log(), **log))
    assert opened(shop).fingerprint == whole


def test_other_names_are_said(shop):
    whole = opened(shop).fingerprint
    toy_shop.write_table(shop / "interactions.csv", renamed(toy_shop.log(), user="who", item="took"))
    assert refusal(shop) == (
        f"{shop}/interactions.csv, row 1: a column of user ids is wanted, got who, took, time, rating. "
        "Say which it is: --data-settings.user_column NAME"
    )
    assert opened(shop, user_column="who", item_column="took").fingerprint == whole
    assert "user_column must be a column of interactions.csv, got 'whom'. Did you mean 'who'?" in refusal(
        shop, user_column="whom"
    )


def test_two_columns_that_could_be_the_same_are_not_guessed(shop):
    rows = [{**row, "customer": "c"} for row in toy_shop.log()]
    toy_shop.write_table(shop / "interactions.csv", rows)
    assert "a column of user ids is wanted, 'customer' and 'user' could be it" in refusal(shop)
    assert len(opened(shop, user_column="user").episodes) == toy_shop.PEOPLE


def test_columns_that_are_not_read_are_told(shop):
    toy_shop.write_table(shop / "items.csv", [{**row, "price": 3} for row in toy_shop.items()])
    assert said(opened(shop), "items.csv: 36 rows; id, title, category; left aside: price")


def test_ids_are_text(shop):
    ids = {row["id"]: f"{k:03d}" for k, row in enumerate(toy_shop.items())}
    toy_shop.write_table(shop / "items.csv", [{**row, "id": ids[row["id"]]} for row in toy_shop.items()])
    toy_shop.write_table(
        shop / "interactions.csv", [{**row, "item": ids[row["item"]]} for row in toy_shop.log()]
    )
    assert opened(shop, images="none").catalog.item_ids[7] == "007"
    toy_shop.write_table(
        shop / "interactions.csv", [{**row, "item": int(ids[row["item"]])} for row in toy_shop.log()]
    )
    told = refusal(shop, images="none")
    assert "are not in items.csv, such as '0'" in told
    assert "differ only by zeros in front: '0' here, '000' there" in told


def test_choices_of_unknown_items_are_refused_or_left_out_and_counted(shop):
    rows = toy_shop.log()
    toy_shop.write_table(shop / "interactions.csv", [*rows, {**rows[0], "item": "gone"}])
    assert f"row {len(rows) + 2}: 1 of the" in refusal(shop)
    assert "--data-settings.unknown drop" in refusal(shop)
    data = opened(shop, unknown="drop")
    assert len(data.interactions) == len(rows)
    assert said(data, "(1 rows) are not in items.csv, such as 'gone': left out") == [data.notes[0]]


def test_dates_are_times(shop):
    whole = opened(shop)
    for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S"):
        rows = [
            {**row, "time": np.datetime64(row["time"], "s").item().strftime(form)} for row in toy_shop.log()
        ]
        toy_shop.write_table(shop / "interactions.csv", rows)
        assert opened(shop).fingerprint == whole.fingerprint
    toy_shop.write_table(shop / "interactions.csv", [*rows[:5], {**rows[5], "time": "03/04/2024"}])
    assert "row 7: time must be a number or a date like 2024-01-31 18:05, got '03/04/2024'" in refusal(shop)
    numbers = toy_shop.log()
    toy_shop.write_table(shop / "interactions.csv", [*numbers[:5], {**numbers[5], "time": "2024-01-01"}])
    assert "row 7: time must be a number, got '2024-01-01'" in refusal(shop)


def test_without_times_the_order_of_the_rows_counts_and_is_told(shop):
    rows = sorted(toy_shop.log(), key=lambda row: row["time"])
    toy_shop.write_table(shop / "interactions.csv", [{"user": r["user"], "item": r["item"]} for r in rows])
    bare, whole = opened(shop), [row["item"] for row in rows if row["user"] == "u3"]
    assert said(bare, "interactions.csv has no times") == [bare.notes[0]]
    (episode,) = (e for e in bare.episodes if e.source_user == "u3")
    assert bare.catalog.item_ids[[*episode.history, episode.reference]].tolist() == whole
    assert (bare.interactions.weight == 1).all()


def test_rows_that_are_no_choices_are_left_out_and_counted(shop):
    rows = [{**row, "rating": k % 5} for k, row in enumerate(toy_shop.log())]
    toy_shop.write_table(shop / "interactions.csv", rows)
    none = sum(row["rating"] == 0 for row in rows)
    data = opened(shop)
    assert len(data.interactions) == len(rows) - none
    assert said(data, f"{none} rows of weight 0 or less left out: no choices")
    assert opened(shop, min_weight=3).interactions.weight.min() == 3


def test_of_what_somebody_took_twice_the_last_time_counts(shop):
    rows = toy_shop.log()
    toy_shop.write_table(shop / "interactions.csv", [{**rows[0], "time": 2_000_000_000}, *rows])
    data = opened(shop)
    assert len(data.interactions) == len(rows)
    (episode,) = (e for e in data.episodes if e.source_user == rows[0]["user"])
    assert data.catalog.item_ids[episode.reference] == rows[0]["item"]


def test_a_column_of_splits_is_kept_and_another_rule_goes_over_it(shop):
    words = ("Training", "validation", "TEST", "train")
    rows = [{**row, "split": words[k % 4]} for k, row in enumerate(toy_shop.log())]
    toy_shop.write_table(shop / "interactions.csv", rows)
    split = opened(shop).interactions.split
    assert [(split == name).sum() for name in ("train", "valid", "test")] == [96, 48, 48]
    own = opened(shop, split_column="none")
    assert (opened(shop, split="leave-last-out").interactions.split == own.interactions.split).all()
    toy_shop.write_table(shop / "interactions.csv", [{**row, "split": "holdout"} for row in rows])
    assert "row 2: split must be one of train, valid, test, got 'holdout'" in refusal(shop)


@pytest.mark.parametrize("rule", ["by-ratio", "by-time", "by-user"])
def test_any_split_will_do(shop, rule):
    assert len(opened(shop, split=rule, test_share=0.2, valid_share=0.2).episodes) > 0


def test_no_pictures_says_what_was_looked_for_and_what_is_there(shop):
    (shop / "images").rename(shop / "photos")
    data = opened(shop)
    assert (data.catalog.images, dict(data.encoders)) == (None, {"text": "minilm"})
    assert data.notes[0] == (
        "no pictures: looked for images/, images.tar, images.tar.gz, images.zip, also numbered "
        "(images_1.tar); there is photos/ with 36 pictures: --data-settings.images NAME takes it"
    )
    assert opened(shop, images="photos").catalog.images.present.all()
    assert not said(opened(shop, images="none"), "no pictures")
    assert "pictures are wanted there, got nothing" in refusal(shop, images="fotos")


def test_pictures_that_no_item_is_called_like_are_refused(shop):
    for k, file in enumerate(sorted((shop / "images").iterdir())):
        file.rename(shop / "images" / f"IMG_{k:03d}.png")
    told = refusal(shop)
    assert "none of the 36 pictures is, first 'IMG_000.png', first item 'lamp0'" in told
    assert "give each item's file in a column image" in told


def test_some_pictures_of_no_item_and_items_without_are_counted(shop):
    (shop / "images" / "lamp0.png").rename(shop / "images" / "lampe.png")
    data = opened(shop)
    assert data.notes[:2] == (
        "1 of 36 items without picture: mean feature, flagged as absent",
        "1 pictures are of no item of the table, such as lampe.png",
    )


@pytest.mark.parametrize("path", ["images/p{k}.png", "p{k}.png", "./images/p{k}.png"])
@pytest.mark.parametrize("store", ["folder", ".tar", ".zip"])
def test_a_column_names_the_files(shop, path, store):
    whole = opened(shop).fingerprint
    rows = [{**row, "image": path.format(k=k)} for k, row in enumerate(toy_shop.items())]
    for k, row in enumerate(rows):
        (shop / "images" / f"{row['id']}.png").rename(shop / "images" / f"p{k}.png")
    toy_shop.write_table(shop / "items.csv", rows)
    if store != "folder":
        toy_shop.packed(shop, store)
    assert opened(shop).fingerprint == whole


def test_files_that_are_not_there_and_addresses_are_counted(shop):
    rows = [{**row, "image": f"images/{row['id']}.png"} for row in toy_shop.items()]
    rows[0]["image"], rows[1]["image"], rows[2]["image"] = "images/x.png", "https://example.org/1.png", ""
    toy_shop.write_table(shop / "items.csv", rows)
    data = opened(shop)
    assert data.catalog.images.present.sum() == 33
    assert "1 files that the items name are not there, such as 'images/x.png'" in data.notes
    assert "1 items name an address of the web: nothing is fetched" in data.notes
    rows[0]["image"] = "../secret.png"
    toy_shop.write_table(shop / "items.csv", rows)
    assert "'../secret.png' leads out of" in refusal(shop)


def test_an_item_that_stands_twice_is_refused(shop):
    rows = toy_shop.items()
    toy_shop.write_table(shop / "items.csv", [*rows, rows[3]])
    assert refusal(shop).startswith(f"{shop}/items.csv, row 38: (id) = ('lamp3') stands a second time")


def test_without_a_table_of_items_those_that_were_chosen_are_the_items(shop):
    (shop / "items.csv").unlink()
    told = refusal(shop)
    assert "a table of items is wanted: looked for items.csv and items.tsv" in told
    assert "without such a table: --data-settings.items none" in told
    data = opened(shop, items="none")
    assert set(data.catalog.item_ids) == {row["item"] for row in toy_shop.log()}
    assert said(data, "no item has a title, caption or category")


def test_tables_of_other_names_are_said(shop):
    (shop / "interactions.csv").rename(shop / "purchases.csv")
    assert "a table of interactions is wanted: looked for interactions.csv and interactions.tsv" in refusal(
        shop
    )
    assert "purchases.csv" in refusal(shop)
    assert len(opened(shop, interactions="purchases.csv").episodes) == toy_shop.PEOPLE


def test_what_was_not_read_is_told(shop):
    (shop / "notes.txt").write_text("mine")
    (shop / "old").mkdir()
    assert opened(shop).notes[-1] == "left aside in shop/: notes.txt, old/"


def test_a_column_of_long_texts_is_cut_and_counted(shop):
    rows = [{**row, "description": "word " * 40_000} for row in toy_shop.items()]
    toy_shop.write_table(shop / "items.csv", rows)
    data = opened(shop)
    assert max(map(len, data.catalog.captions)) <= 600
    assert said(data, "36 texts of description cut at 600 characters")


def test_a_folder_of_another_layout_is_told_how_to_open_it(shop, tmp_path):
    shutil.rmtree(shop)
    recbole = toy_shop.as_recbole(tmp_path / "shop")
    assert f"shop.inter is there: --data recbole:{recbole}" in refusal(recbole)
