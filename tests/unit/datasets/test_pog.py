"""POG: lines of text without header, a draw of users, and what is left out, counted."""

import json

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.files.text_lines import MAX_LINE, line_starts, lines_at
from recsim_gen.datasets.pog import load

ITEMS = [f"{i:03d},{i % 4},//img/{i}.jpg,Coat {i}, long, warm" for i in range(40)]
OUTFITS = [f"o{k},{';'.join(f'{i:03d}' for i in range(k, k + 4))}" for k in range(20)]
USERS = [f"u{u},{';'.join(f'{(u * 7 + k) % 40:03d}' for k in range(3 + u % 5))},o{u}" for u in range(12)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pog"
    path.mkdir()
    for name, lines in (("item", ITEMS), ("outfit", OUTFITS), ("user", USERS)):
        write(path, name, lines)
    return path


def write(path, name, lines):
    (path / f"{name}_data.txt").write_text("\n".join(lines))  # the last line without a newline


def histories(data):
    ids = data.catalog.item_ids
    return {e.source_user: ([str(ids[i]) for i in e.history], str(ids[e.reference])) for e in data.episodes}


def test_the_last_click_is_asked_for(folder):
    data = load(folder, n_users=None)
    assert histories(data)["u6"] == (["002", "003", "004"][: 3 + 6 % 5 - 1], "005")
    assert len(data.episodes) == 12
    assert data.notes == ("12 users drawn from 12 lines, their last 20 items at most",)
    row = data.catalog.row_of["005"]
    assert data.catalog.titles[row] == data.catalog.captions[row] == "Coat 5, long, warm"
    assert data.catalog.categories[row] == "category 1"
    assert data.encoders == {"text": "minilm"}


def test_an_item_of_the_outfit_is_asked_for(folder):
    data = load(folder, n_users=None, reference="outfit")
    for user, (history, reference) in histories(data).items():
        assert reference not in history
        assert reference in OUTFITS[int(user[1:])]
    assert len(histories(data)["u6"][0]) == 4
    assert load(folder, n_users=None, reference="outfit").fingerprint == data.fingerprint


def test_repeated_unknown_and_short(folder):
    write(
        folder,
        "user",
        ["a,001;002;001;003;001,o1", "b,001;777;778;002;003", "c,001;777;001,o1", "d,4;5,o1", ""],
    )
    data = load(folder, n_users=None)
    assert histories(data) == {"a": (["002", "003"], "001"), "b": (["001", "002"], "003")}
    assert data.notes == (
        "2 users drawn from 4 lines, their last 20 items at most",
        "2 users passed over: fewer than 3 different items",
        "2 items clicked again: the last click counts",
        "2 clicks on items that item_data.txt does not list left out",
    )


def test_a_draw_is_of_as_many_users_as_asked_for_and_of_the_seed(folder):
    write(folder, "user", [*USERS, "x,1;2,o1", *USERS[:3]])
    users = [set(histories(load(folder, n_users=5, seed=s))) for s in range(8)]
    assert {len(u) for u in users} == {5}
    assert len({frozenset(u) for u in users}) > 3
    assert set(histories(load(folder, n_users=5, seed=3))) == users[3]
    everybody = load(folder, n_users=None)
    assert len(everybody.episodes) == 12
    assert "3 more lines of users drawn before passed over" in everybody.notes


def test_only_the_last_of_a_long_history(folder):
    write(folder, "user", [f"a,{';'.join(f'{i:03d}' for i in range(30))},o1"])
    data = load(folder, sequence_length=5)
    assert histories(data) == {"a": (["025", "026", "027", "028"], "029")}
    assert len(data.catalog) == 5


def test_pictures_captions_and_styles_lie_beside(folder):
    (folder / "images").mkdir()
    for i in range(30):
        Image.new("RGB", (3, 3), (i, 0, 0)).save(folder / "images" / f"{i:03d}.jpg")
    (folder / "captions_sampled.json").write_text(json.dumps({"005": "a long warm coat"}))
    (folder / "user_styles.json").write_text(json.dumps([{"user": "u6", "style": "elegant"}]))
    data = load(folder, n_users=None)
    row = data.catalog.row_of["005"]
    assert data.catalog.captions[row] == "a long warm coat"
    assert data.catalog.images.present[row]
    assert data.styles == {"u6": "elegant"}
    missing = (~data.catalog.images.present).sum()
    assert f"{missing} items without picture: mean image feature, flagged as absent" in data.notes


BAD = [
    (
        "user",
        [*USERS, "a,001,002,o1"],
        "user_data.txt, row 13: user, items and an outfit are wanted, got 'a,001",
    ),
    ("user", ["only"], "user_data.txt, row 1: user, items and an outfit are wanted, got 'only'"),
    ("user", ["a,1;2,o1"], "user_data.txt: users with 3 different items are wanted, got none"),
    ("user", ["a,777;778;779"], "users with three known items are wanted, got none. Raise n_users"),
    ("item", [*ITEMS, ITEMS[7]], "item_data.txt, row 41: item '007' stands a second time"),
    (
        "item",
        ["007,3,x", *ITEMS],
        "item_data.txt, row 1: item, category, address and title are wanted, got '007,3",
    ),
    ("user", ["a," + "1;" * MAX_LINE], "user_data.txt, row 1: a line is longer than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("name", "lines", "expected"), BAD)
def test_a_bad_line_is_one_error(folder, name, lines, expected):
    write(folder, name, lines)
    with pytest.raises(DataError) as caught:
        load(folder, n_users=None)
    assert expected in str(caught.value)


def test_missing_and_empty_files_and_settings(folder):
    (folder / "user_data.txt").write_bytes(b"a,\xff;1")
    with pytest.raises(DataError, match=r"row 1: UTF-8 text is wanted, got the byte 0xff"):
        load(folder)
    (folder / "user_data.txt").write_bytes(b"")
    with pytest.raises(DataError, match="lines are wanted, the file is empty"):
        load(folder)
    (folder / "user_data.txt").unlink()
    with pytest.raises(DataError, match="cannot be opened"):
        load(folder)
    with pytest.raises(SettingError, match="reference must be one of last, outfit, got 'first'"):
        load(folder, reference="first")
    with pytest.raises(SettingError, match="sequence_length must be 3 or more"):
        load(folder, sequence_length=2)


@pytest.mark.parametrize("ending", ["", "\n"])
def test_lines_are_found_by_number(tmp_path, ending):
    lines = [f"line {i}" * (i % 7) for i in range(1000)]
    file = tmp_path / "f.txt"
    file.write_text("\n".join(lines) + ending)
    starts = line_starts(file)
    assert len(starts) == 1001
    order = np.random.default_rng(0).permutation(1000) + 1
    assert [text for _, text in lines_at(file, starts, order.tolist())] == [lines[i - 1] for i in order]
