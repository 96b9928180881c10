"""RecBole's atomic files, parquet and saved folders, where they differ from a CSV shop."""

from __future__ import annotations

import datetime
import shutil
import sys

import pyarrow as pa
import pytest
import toy_shop
from pyarrow import parquet

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.recbole_writer import write_recbole


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def refusal(spec, **settings):
    with pytest.raises(DataError) as caught:
        open_data(spec, **settings)
    return str(caught.value)


def test_what_is_written_for_recbole_is_read_back_with_its_split(tmp_path):
    boutique = open_data("boutique", n_items=90, n_users=20, split="by-ratio")
    write_recbole(boutique, tmp_path / "shop")
    again = open_data(f"recbole:{tmp_path / 'shop'}")
    assert again.interactions.fingerprint == boutique.interactions.fingerprint
    assert (again.catalog.captions == boutique.catalog.captions).all()
    assert again.notes[-1] == "left aside in shop/: README.md, shop.inter"


def test_ratings_alone_are_data_of_the_items_that_were_chosen(tmp_path):
    folder = toy_shop.as_recbole(tmp_path / "shop")
    shutil.rmtree(folder / "images")
    (folder / "shop.item").unlink()
    data = open_data(f"recbole:{folder}")
    assert set(data.catalog.item_ids) == {row["item"] for row in toy_shop.log()}
    assert "no table of items: those that were chosen" in data.notes


def test_people_of_the_table_of_users_are_counted(tmp_path):
    folder = toy_shop.as_recbole(tmp_path / "shop")
    with (folder / "shop.user").open("a") as f:
        f.write("u900\t30\n")
    notes = open_data(f"recbole:{folder}").notes
    assert "shop.user: 25 people, 1 of them without a choice; left aside: age:float" in notes
    assert not [note for note in notes if note.startswith("left aside in")]


def test_quotes_are_read_as_recbole_reads_them(tmp_path):
    """A value that holds a quote stands in quotes, and its own are doubled."""
    folder = toy_shop.as_recbole(tmp_path / "shop")
    file = folder / "shop.item"
    file.write_text(file.read_text().replace("Red lamp no. 0", '"""Red"" lamp"'))
    assert open_data(f"recbole:{folder}").catalog.titles[0] == '"Red" lamp'


def test_atomic_files_of_another_name_are_read_where_there_is_one(tmp_path):
    folder = toy_shop.as_recbole(tmp_path / "shop")
    whole = open_data(f"recbole:{folder}").fingerprint
    moved = folder.rename(tmp_path / "other")
    assert open_data(f"recbole:{moved}").fingerprint == whole
    shutil.copy(moved / "shop.inter", moved / "shop2.inter")
    assert "looked for other.inter or another single *.inter" in refusal(f"recbole:{moved}")


def test_types_of_parquet_are_what_a_csv_would_say(tmp_path):
    folder = toy_shop.as_parquet(tmp_path / "shop")
    whole = open_data(f"hf:{folder}").fingerprint
    zone = datetime.timezone.utc
    rows = [
        {**row, "time": datetime.datetime.fromtimestamp(row["time"], zone), "rating": float(row["rating"])}
        for row in toy_shop.log()
    ]
    for file in folder.glob("interactions*"):
        file.unlink()
    table = pa.Table.from_pylist(rows)
    for column in ("user", "item"):
        table = table.set_column(table.column_names.index(column), column, table[column].dictionary_encode())
    parquet.write_table(table, folder / "interactions.parquet")
    assert open_data(f"hf:{folder}").fingerprint == whole


def test_numbers_of_classes_are_their_names(tmp_path):
    folder = toy_shop.as_csv(tmp_path / "csv")
    kinds = [toy_shop.KINDS.index(row["category"]) for row in toy_shop.items()]
    table = pa.table({"id": [row["id"] for row in toy_shop.items()], "category": kinds})
    features = (
        '{"info": {"features": {"category": {"names": ["lamp", "mug", "rug"], "_type": "ClassLabel"}}}}'
    )
    table = table.replace_schema_metadata({b"huggingface": features.encode()})
    parquet.write_table(table, folder / "items.parquet")
    parquet.write_table(pa.Table.from_pylist(toy_shop.log()), folder / "interactions.parquet")
    assert open_data(f"hf:{folder}").catalog.categories[:3].tolist() == list(toy_shop.KINDS)


def test_splits_of_a_saved_folder_are_kept(tmp_path):
    folder = toy_shop.as_saved(tmp_path / "shop")
    shutil.rmtree(folder / "interactions")
    (folder / "interactions").mkdir()
    log = toy_shop.log()
    for name, rows in (("train", log[::2]), ("validation", log[1::4]), ("test", log[3::4])):
        file = folder / "interactions" / f"{name}-00000-of-00001.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), file)
    split = open_data(f"hf:{folder}").interactions.split
    assert [(split == name).sum() for name in ("train", "valid", "test")] == [96, 48, 48]


def test_pictures_may_lie_beside_a_parquet_file(tmp_path):
    shop = toy_shop.as_csv(tmp_path / "shop")
    whole = open_data(f"csv:{shop}").fingerprint
    parquet.write_table(pa.Table.from_pylist(toy_shop.items()), shop / "items.parquet")
    parquet.write_table(pa.Table.from_pylist(toy_shop.log()), shop / "interactions.parquet")
    assert open_data(f"hf:{shop}").fingerprint == whole


def test_broken_files_and_rows_are_named(tmp_path):
    folder = toy_shop.as_parquet(tmp_path / "shop")
    (folder / "items.parquet").write_bytes(b"PAR1 no table PAR1")
    assert refusal(f"hf:{folder}").startswith(f"{folder}/items.parquet: cannot be read as a table (")
    saved = toy_shop.as_saved(tmp_path / "saved")
    (saved / "items" / "data-00001-of-00002.arrow").unlink()
    assert "data-00001-of-00002.arrow is listed and not there" in refusal(f"hf:{saved}")
    log = toy_shop.log()
    table = pa.Table.from_pylist([*log[:4], {**log[4], "item": None}])
    for file in folder.glob("interactions*"):
        file.unlink()
    parquet.write_table(table, folder / "interactions.parquet")
    parquet.write_table(pa.Table.from_pylist(toy_shop.items()), folder / "items.parquet")
    assert "interactions.parquet, row 5: item must be an id, got an empty one" in refusal(f"hf:{folder}")
    (folder / "interactions.parquet").unlink()
    assert "a table of interactions is wanted: looked for interactions.parquet" in refusal(f"hf:{folder}")


def test_without_pyarrow_one_line_says_so(tmp_path, monkeypatch):
    folder = toy_shop.as_parquet(tmp_path / "shop")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match="parquet and Arrow files need pyarrow: pip install pyarrow"):
        open_data(f"hf:{folder}")
