"""PMG-Bench's fashion: ids that are text, lists of them, pictures in a .tar.gz, and bad rows."""

import io
import json
import tarfile

import pytest
from PIL import Image

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.pmg_bench.pog import load


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def pack(file, ids):
    with tarfile.open(file, "w:gz") as archive:
        for k, item in enumerate(ids):
            out = io.BytesIO()
            Image.new("RGB", (3, 5), (k, 0, 0)).save(out, "PNG")
            info = tarfile.TarInfo(f"images/{item}.png")
            info.size = len(out.getvalue())
            archive.addfile(info, io.BytesIO(out.getvalue()))


def write(file, header, lines):
    file.write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pog_dataset"
    path.mkdir()
    items = [f'0{i},c{i % 2},"Coat, warm {i}",' for i in range(8)]
    write(path / "item_data.csv", "item_id,cate_id,title,desc", [*items, '8,c1,,"wool, soft"'])
    write(path / "outfit_data.csv", "outfit_id,item_ids", ["o1,00;01", 'o2,"02;03;04"'])
    users = ["u1,00;01;02;03;04,o1;o2", "u2,\"['05', '06', '8']\",", "u10,07 06,o2"]
    write(path / "user_data.csv", "user_id,item_history,outfit_history", users)
    (path / "captions.json").write_text(json.dumps({f"0{i}": f"a coat {i}" for i in range(8)}))
    pack(path / "images.tar.gz", [f"0{i}" for i in range(8)] + ["99"])
    return path


def change(file, row, text):
    lines = file.read_text().splitlines()
    lines[row - 1] = text
    file.write_text("\n".join(lines) + "\n")


def test_items_people_and_pictures(folder):
    data = load(folder)
    catalog, chosen = data.catalog, data.interactions
    assert catalog.item_ids.tolist() == [f"0{i}" for i in range(8)] + ["8"]
    assert catalog.titles[[0, 8]].tolist() == ["Coat, warm 0", "item 8"]
    assert catalog.captions[[0, 8]].tolist() == ["a coat 0", "wool, soft"]
    assert catalog.categories[[0, 1]].tolist() == ["c0", "c1"]
    assert catalog.images.present.tolist() == [True] * 8 + [False]
    assert catalog.images.read(5).getpixel((0, 0)) == (5, 0, 0)
    assert chosen.user_ids.tolist() == ["u1", "u2", "u10"]
    assert chosen.split.tolist() == ["train"] * 3 + [
        "valid",
        "test",
        "train",
        "valid",
        "test",
        "train",
        "train",
    ]
    assert [(e.id, e.history, e.reference) for e in data.episodes] == [
        ("u1#0", (0, 1, 2, 3), 4),
        ("u2#0", (5, 6), 8),
    ]
    assert data.notes == (
        "10 choices by 3 people, 9 items",
        "2 people with one episode each, oldest first",
        "1 people with fewer than 3 choices: all train, no episode",
        "2 outfits of 5 items, chosen 3 times: not learned from",
        "1 items without picture: mean image feature, flagged as absent",
        "1 pictures not used: item_data.csv lists no such item",
        "1 of 9 items without caption: other words stand for it",
    )


def test_histories_can_be_cut(folder):
    data = load(folder, sequence_length=3)
    assert data.interactions.user_ids.tolist() == ["u1/0", "u1/tail", "u2/0", "u10/tail"]
    assert {e.source_user for e in data.episodes} == {"u1", "u2"}


def test_an_item_that_stands_again_counts_at_its_last_place(folder):
    change(folder / "user_data.csv", 2, "u1,04;01;04;02;03;04,")
    data = load(folder)
    assert data.episodes[0].history == (1, 2, 3)  # the reference is not in its own history
    assert data.episodes[0].reference == 4
    assert "2 items that stand again in a history: the last place counts" in data.notes


def test_rows_of_one_person_are_joined(folder):
    change(folder / "user_data.csv", 4, "u1,05;06,o2")
    assert load(folder).episodes[0].history == (0, 1, 2, 3, 4, 5)


def test_a_long_history_is_read(folder):
    items = [f"{k:032x},c,Coat," for k in range(2000)]
    with (folder / "item_data.csv").open("a") as f:
        f.write("\n".join(items))
    change(folder / "user_data.csv", 2, "u1," + ";".join(f"{k:032x}" for k in range(2000)) + ",")
    assert len(load(folder).episodes[0].history) == 1999


def test_ids_that_no_table_lists(folder):
    change(folder / "user_data.csv", 2, "u1,00;01;77;78;02,o9")
    change(folder / "user_data.csv", 3, "u2,79,")
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder}/user_data.csv, row 2: item_history '77' is not in item_data.csv (1 more rows like it). "
        "Add it to item_data.csv, or set unknown=drop to leave such ids out"
    )
    data = load(folder, unknown="drop")
    assert data.interactions.user_ids.tolist() == ["u1", "u10"]
    assert data.notes[1:4] == (
        "3 ids of item_history left out: not in item_data.csv (unknown=drop)",
        "1 people without an item in their history left out",
        "1 ids of outfit_history left out: not in outfit_data.csv (unknown=drop)",
    )


def test_ids_that_lost_their_zeros_are_said_to_and_not_advised_away(folder):
    """A spreadsheet writes 00 as 0: all would be dropped, and no item have a picture."""
    change(folder / "user_data.csv", 2, "u1,0;1;2;0;4,")
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder}/user_data.csv, row 2: item_history '0' is not in item_data.csv; 4 of them differ only by "
        "zeros in front: '0' here, '00' there. Add it to item_data.csv, or write ids alike"
    )
    told = load(folder, unknown="drop").notes[1]
    assert told.startswith(
        "4 ids of item_history, named 5 times, left out: not in item_data.csv (unknown=drop)"
    )
    assert told.endswith("zeros in front: '0' here, '00' there")


def test_items_of_outfits_are_counted_once_each(folder):
    write(folder / "outfit_data.csv", "outfit_id,item_ids", ["o1,00;01", "o2,01;00"])
    assert "2 outfits of 2 items, chosen 3 times: not learned from" in load(folder).notes


@pytest.mark.parametrize(
    ("file", "row", "line", "expected"),
    [
        ("item_data.csv", 3, "00,c1,Again,",
         "item_data.csv, row 3: (item_id) = ('00') stands a second time; first in row 2. "
         "Keep one of the two rows"),
        ("item_data.csv", 4, "02,c0,Coat, no quotes,",
         "item_data.csv, row 4: 4 fields are wanted, as in the header, got 5. "
         "Put text that holds ',' in quotes"),
        ("outfit_data.csv", 3, "o2,02;55",
         "outfit_data.csv, row 3: item_ids '55' is not in item_data.csv. "
         "Add it to item_data.csv, or set unknown=drop to leave such ids out"),
        ("outfit_data.csv", 3, "o1,02",
         "outfit_data.csv, row 3: (outfit_id) = ('o1') stands a second time; first in row 2. "
         "Keep one of the two rows"),
        ("user_data.csv", 4, ",07,",
         "user_data.csv, row 4: user_id must be an id, got an empty one. "
         "Fetch the file as published, or correct that row"),
    ],
)  # fmt: skip
def test_a_bad_row_is_one_error(folder, file, row, line, expected):
    change(folder / file, row, line)
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value).replace(f"{folder}/", "") == expected


def test_captions_of_another_kind(folder):
    (folder / "captions.json").write_text(json.dumps({"00": {"text": "a coat"}}))
    with pytest.raises(DataError, match=r"captions\.json.*00 must be text, got dict"):
        load(folder)


def test_settings_out_of_range(folder):
    with pytest.raises(SettingError, match="unknown must be one of refuse, drop, got 'keep'"):
        load(folder, unknown="keep")
