"""The unified JSON: the published records of three datasets, their rules, and what is refused."""

import copy
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from real_data import REAL

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.movielens import load as load_movielens
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.unified.loader import load
from recsim_gen.datasets.unified.writer import write_unified


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def flickr_item(item, score):
    return {
        "item_id": item,
        "caption": f"a photograph of {item}",
        "image_path": f"40K/{item}.jpg",
        "score": score,
        "aesthetic_score": 0.25,
    }


def windows(worker, sequence, size=3):
    """Records as the public code makes them: a window that slides by one."""
    for at in range(len(sequence) - size):
        part = sequence[at : at + size + 1]
        infos = [flickr_item(item, 3 + k % 3) for k, item in enumerate(part)]
        yield {
            "worker_id": worker,
            "history_item_ids": part[:-1],
            "history_items_info": infos[:-1],
            "target_item_id": part[-1],
            "target_item_info": infos[-1],
            "worker_style": f"{worker} likes light",
            "num_interactions": size,
            "window_position": at,
            "total_sequence_length": len(sequence),
        }


def pog(user, ids, target):
    return {
        "user_id": user,
        "history_item_ids": ids,
        "history_items_info": [{"item_id": i, "caption": f"a {i}", "image_path": None} for i in ids],
        "target_item_id": target,
        "target_item_info": None
        if target is None
        else {"item_id": target, "caption": "", "image_path": None},
        "user_style": "",
        "num_interactions": len(ids),
    }


def folder(tmp_path, name="data", **splits):
    path = tmp_path / name / "processed_dataset"
    path.mkdir(parents=True, exist_ok=True)
    for split, records in splits.items():
        (path / f"{split}.json").write_text(json.dumps(list(records)))
    return tmp_path / name


def episodes(data):
    ids = data.catalog.item_ids
    return [(e.source_user, [str(ids[i]) for i in e.history], str(ids[e.reference])) for e in data.episodes]


@pytest.fixture
def flickr(tmp_path):
    path = folder(
        tmp_path,
        train=windows("W1", list("abcdefgh")),
        val=windows("W2", list("ijkl")),
        test=[*windows("W3", list("mnopqrstu")), *windows("W4", list("vwxyz"))],
    )
    (path / "40K").mkdir()
    for letter in "abcdefghijklmnopqrstuvwxy":
        Image.new("RGB", (4, 4), (ord(letter), 0, 0)).save(path / "40K" / f"{letter}.jpg")
    (path / "FLICKR_styles.json").write_text(json.dumps([{"worker": "W3", "style": "sea, light"}]))
    return path


def test_flickr_as_published(flickr):
    data = load(flickr)
    # Windows that slide by one: only every fourth has an answer that no other gives away.
    assert episodes(data) == [
        ("W3", ["m", "n", "o"], "p"),
        ("W3", ["q", "r", "s"], "t"),
        ("W4", ["v", "w", "x"], "y"),
    ]
    chosen = data.interactions
    assert chosen.user_ids.tolist() == ["W1/train", "W2/valid0", "W3/0", "W3/1", "W4/0"]
    of = {name: chosen.split[chosen.user == u].tolist() for u, name in enumerate(chosen.user_ids.tolist())}
    assert of["W1/train"] == ["train"] * 8
    assert of["W2/valid0"] == ["train"] * 3 + ["valid"]
    assert of["W3/0"] == ["train", "train", "valid", "test"]
    assert set(chosen.weight) == {3.0, 4.0, 5.0}
    assert data.styles == {
        "W1": "W1 likes light", "W2": "W2 likes light", "W3": "sea, light", "W4": "W4 likes light",
    }  # fmt: skip
    assert (data.aesthetic == 0.25).all()
    assert data.leaks == 0
    assert data.notes == (
        "14 records of 4 people, 26 items; 5 train, 1 valid, 8 test",
        "5 test or validation windows left out that overlap with another of the same person (windows=apart)",
        "1 items without picture: mean image feature, flagged as absent",
    )
    assert data.catalog.captions[0] == "a photograph of a"
    assert data.catalog.images.read(2).size == (4, 4)


def test_all_windows_on_demand_hold_each_others_answers(flickr):
    data = load(flickr, windows="all")
    assert len(data.episodes) == 8
    assert episodes(data)[1] == ("W3", ["n", "o", "p"], "q")


def test_windows_that_do_not_overlap_are_all_kept(tmp_path):
    records = [*windows("W", list("abcd")), *windows("W", list("efgh"))]
    assert len(load(folder(tmp_path, test=records)).episodes) == 2


def test_a_target_in_its_own_history_is_taken_out_and_counted(tmp_path):
    path = folder(
        tmp_path,
        test=[
            pog("u", ["01", "1", "2", "02", "2"], "2"),
            pog("v", ["3"], "3"),
            pog("w", ["1", "2", "1"], "3"),
        ],
        train=[pog("t", ["1", "2", "3"], "2"), pog("s", ["4"], None)],
    )
    data = load(path)
    assert episodes(data) == [("u", ["01", "1", "02"], "2"), ("w", ["2", "1"], "3")]
    assert data.leaks == 3
    assert data.notes == (
        "5 records of 5 people, 6 items; 2 train, 0 valid, 3 test",
        "3 records (2 of them test) hold their target in their own history: taken out of the history",
        "1 items stand twice in one history: the last place counts",
        "1 test or validation records without target or history left out",
    )
    assert data.catalog.item_ids.tolist() == ["1", "2", "3", "4", "01", "02"]
    assert data.catalog.images is None
    assert data.encoders == {"text": "minilm"}


def test_a_person_is_not_taught_what_they_are_asked(tmp_path):
    path = folder(tmp_path, train=[pog("u", ["1", "2", "3"], "4")], test=[pog("u", ["5", "6"], "2")])
    data = load(path)
    chosen = data.interactions
    taught = chosen.item[chosen.user == chosen.user_ids.tolist().index("u/train")]
    assert data.catalog.item_ids[taught].tolist() == ["1", "3", "4"]
    told = "1 rows of train records left out: the same person is asked for them in test or validation"
    assert told in data.notes


def test_ser_with_samples_and_its_earlier_form(tmp_path):
    def item(i):
        return {"item_id": i, "caption": f"a {i}", "image_path": f"Images/{i}"}

    new = [
        {
            "user_id": "01-bear",
            "history_item_ids": ["01-bear/a.png", "01-bear/b.png"],
            "history_items_info": [item("01-bear/a.png"), item("01-bear/b.png")],
            "target_item_id": f"02-cat/{k}.png",
            "target_item_info": item(f"02-cat/{k}.png"),
            "num_interactions": 2,
            "sample_index": k,
        }
        for k in (1, 0)
    ]
    old = {
        "history_topic": "03-tea",
        "history_item_ids": ["03-tea/a.png", "03-tea/b.png"],
        "history_items_info": [item("03-tea/a.png"), item("03-tea/b.png")],
        "target_item_id": "02-cat/9.png",
        "target_annotation": {"anno": 3},
        "target_caption": "a cat",
        "target_image_path": "Images/02-cat/9.png",
    }
    path = folder(tmp_path, test=[*new, old])
    (path / "Images" / "02-cat").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(path / "Images" / "02-cat" / "9.png")
    (path / "user_preferences.json").write_text(
        json.dumps({"01-bear": {"topic": "01-bear", "num_history_items": 2, "keywords": ["soft", "brown"]}})
    )
    data = load(path)
    assert [(e.source_user, e.id) for e in data.episodes] == [
        ("01-bear", "01-bear/0#0"), ("01-bear", "01-bear/1#0"), ("03-tea", "03-tea/0#0"),
    ]  # fmt: skip
    row = data.catalog.row_of["02-cat/9.png"]
    assert data.catalog.captions[row] == "a cat"
    assert data.catalog.categories[row] == "02-cat"
    assert np.flatnonzero(data.catalog.images.present).tolist() == [row]
    assert data.styles == {"01-bear": "soft, brown"}


def test_one_file_is_all_test(flickr):
    data = load(flickr / "processed_dataset" / "test.json")
    assert len(data.episodes) == 3
    assert data.catalog.images.present.sum() == 13
    assert open_data(f"unified:{flickr}").fingerprint == load(flickr).fingerprint


def test_long_captions_are_cut_and_counted(flickr):
    data = load(flickr, longest_caption=10)
    assert set(np.char.str_len(data.catalog.captions)) == {10}
    assert "26 captions cut at 10 characters" in data.notes


def test_paths_written_elsewhere_need_their_prefix(flickr):
    file = flickr / "processed_dataset" / "test.json"
    file.write_text(file.read_text().replace("40K/", "/data/home/FLICKR/40K/"))
    with pytest.raises(DataError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}, row record 1, history_items_info[0]: '/data/home/FLICKR/40K/m.jpg' leads out of {flickr}. "
        "Name files inside the data folder, relative to it; where they were written elsewhere, set "
        "image_prefix to the part to be replaced by it"
    )
    assert load(file, image_prefix="/data/home/FLICKR").catalog.images.present.sum() == 13


@pytest.mark.parametrize(
    "path", ["../secret.png", "40K/../../secret.png", "/etc/passwd", "link.png", "linked/x.png"]
)
def test_a_path_out_of_the_folder_is_refused(flickr, tmp_path, path):
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "elsewhere" / "x.png")
    (flickr / "link.png").symlink_to(tmp_path / "secret.png")
    (flickr / "linked").symlink_to(tmp_path / "elsewhere")
    file = flickr / "processed_dataset" / "test.json"
    file.write_text(file.read_text().replace("40K/m.jpg", path))
    with pytest.raises(DataError, match=r"(leads|is a link) out of .*Name files inside the data folder"):
        load(flickr)


BAD = [
    (["worker_id"], None, "record 1: user_id or worker_id is wanted, got neither"),
    (["worker_id"], ["W"], "record 1: worker_id must be an id (text or a whole number), got list"),
    (["history_item_ids"], ["m", "n"], "history_item_ids and history_items_info name different items"),
    (["history_items_info"], {}, "record 1: history_items_info must be a list, got dict"),
    (["history_items_info", 1], "n", "history_items_info[1]: an object is wanted, got 'n'"),
    (["history_items_info", 1, "item_id"], None, "history_items_info[1]: item_id is wanted, got none"),
    (["history_items_info", 2, "score"], "4", "history_items_info[2]: score must be a number, got '4'"),
    (["history_items_info", 2, "image_path"], "40K/n.jpg", "item 'o' has two pictures"),
    (["target_item_id"], "n", "target_item_id and target_item_info name different items: 'n', 'p'"),
    (["target_item_info", "caption"], 3, "target_item_info: caption must be text, got 3"),
    (["window_position"], -1, "window_position must be a whole number from 0, got -1"),
    (["window_position"], 9, "window_position must be below total_sequence_length, got 9 of 9"),
    (["num_interactions"], 2.5, "num_interactions must be a whole number from 0, got 2.5"),
]


@pytest.mark.parametrize(("where", "value", "expected"), BAD)
def test_a_bad_record_is_one_error(flickr, where, value, expected):
    file = flickr / "processed_dataset" / "test.json"
    records = json.loads(file.read_text())
    place = records[0]
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    file.write_text(json.dumps(records))
    with pytest.raises(DataError) as caught:
        load(flickr)
    assert expected in str(caught.value)
    assert "test.json" in str(caught.value)


def test_files_that_are_no_records(tmp_path, flickr):
    with pytest.raises(DataError, match=r"a folder with test\.json"):
        load(tmp_path)
    (flickr / "FLICKR_styles.json").write_text(json.dumps([{"worker": "a", "style": "b"}] * 2))
    with pytest.raises(DataError, match="one style of 'a' is wanted, got a second one"):
        load(flickr)
    (tmp_path / "one.json").write_text('{"user_id": "u"}')
    with pytest.raises(DataError, match="a list of records is wanted, got dict"):
        load(tmp_path / "one.json")
    with pytest.raises(DataError, match="a test record with a history and a target is wanted"):
        load(folder(tmp_path, "third", test=[pog("u", ["1"], None)]))
    with pytest.raises(SettingError, match="windows must be one of apart, all, got 'most'"):
        load(flickr, windows="most")


def test_what_is_written_is_read_back(flickr, tmp_path):
    first = load(flickr)
    write_unified(first, tmp_path / "again")
    again = load(tmp_path / "again")
    same(first, again)
    assert again.styles == first.styles
    assert (again.aesthetic == 0.25).all()
    write_unified(again, tmp_path / "third")
    assert load(tmp_path / "third").fingerprint == again.fingerprint


def test_drawn_pictures_are_written_too(tmp_path):
    shop = open_data("boutique", n_items=90, n_users=12)
    write_unified(shop, tmp_path / "shop")
    same(shop, load(tmp_path / "shop"))


def same(first, again):
    """Episodes, choices and used items are equal; ids tell which is which, for rows and users change."""
    assert episodes(again) == episodes(first)
    assert rows(again) == rows(first)
    for row, item in enumerate(again.catalog.item_ids.tolist()):
        old = first.catalog.row_of[item]
        assert again.catalog.captions[row] == first.catalog.captions[old]
        has = first.catalog.images is not None and first.catalog.images.present[old]
        assert has == (again.catalog.images is not None and again.catalog.images.present[row])
        if has and row % max(1, len(again.catalog) // 50) == 0:
            assert again.catalog.images.read(row).tobytes() == first.catalog.images.read(old).tobytes()


def rows(data):
    chosen = data.interactions
    return sorted(zip(data.catalog.item_ids[chosen.item], chosen.split, chosen.weight, strict=True))


def test_a_write_that_fails_leaves_nothing(flickr, tmp_path):
    data = load(flickr)
    (flickr / "40K" / "m.jpg").unlink()
    with pytest.raises(DataError):
        write_unified(data, tmp_path / "again")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["data"]


mutations = st.tuples(
    st.integers(0, 10**6),
    st.sampled_from(["drop", "null", "number", "text", "list", "object", "swap"]),
    st.one_of(st.integers(), st.text(max_size=8), st.floats()),
)


def mutate(value, place, kind, with_what):
    """Change the place-th value (modulo their number) of a nested structure."""
    spots = []

    def walk(inside):
        for key in inside if isinstance(inside, dict) else range(len(inside)):
            spots.append((inside, key))
            if isinstance(inside[key], dict | list):
                walk(inside[key])

    walk(value)
    if not spots:
        return
    inside, key = spots[place % len(spots)]
    if kind == "drop":
        del inside[key]
    elif kind == "swap":
        other, at = spots[(7 * place + 3) % len(spots)]
        inside[key], other[at] = copy.deepcopy(other[at]), copy.deepcopy(inside[key])
    else:
        kinds = {
            "null": None,
            "number": 7,
            "text": with_what,
            "list": [with_what],
            "object": {"a": with_what},
        }
        inside[key] = kinds[kind]


WORLD = [*windows("W3", list("mnopqrstu")), pog("u", ["1", "2"], "3"), pog("v", ["1", "3"], "2")]


def opened_or_refused(tmp_path, changes):
    records = copy.deepcopy(WORLD)
    for place, kind, with_what in changes:
        mutate(records, place, kind, with_what)
    path = tmp_path / "test.json"
    path.write_text(json.dumps(records))
    try:
        data = load(path)
    except DataError as error:
        assert str(error)  # noqa: PT017 (nothing else may come out)
        return
    assert data.fingerprint


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(mutations, min_size=1, max_size=4))
def test_changed_records_are_read_or_refused(tmp_path, changes):
    opened_or_refused(tmp_path, changes)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(mutations, min_size=1, max_size=4))
def test_changed_records_are_read_or_refused_100_000_times(tmp_path, changes):
    opened_or_refused(tmp_path, changes)


@pytest.mark.real
@pytest.mark.parametrize("posters", ["none", pytest.param(None, marks=pytest.mark.slow)])
def test_movielens_goes_through(tmp_path, posters):
    if not (REAL / "movielens").is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    first = load_movielens(REAL / "movielens", posters=posters)
    write_unified(first, tmp_path / "ml")
    again = load(tmp_path / "ml")
    same(first, again)
    assert len(again.episodes) == 4_769
    assert len(again.interactions) == 100_836
