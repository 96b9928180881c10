"""Checks of a dataset: each fault is found where it was put, and counts agree with what is published."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from real_data import REAL

from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.checks import WIDTHS, counts, decode, examine, garbled_texts, memory
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.images import open_images
from recsim_gen.datasets.movielens import load
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.published import PUBLISHED, Published, published
from recsim_gen.encoders.features import make_encoder
from recsim_gen.testing import worlds


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Pictures of items i0 to i9, of 8×6 pixels; i3 is i1 again, byte for byte, and i77 is no item."""
    path = tmp_path / "pictures"
    path.mkdir()
    for i in (*range(10), 77):
        Image.new("RGB", (8, 6), (20 * (1 if i == 3 else i) % 256, 0, 0)).save(path / f"i{i}.png")
    return path


@pytest.fixture
def data(folder):
    """Three users of five items each; 12 items, two of them without picture."""
    chosen = worlds.interactions([[0, 1, 2, 4, 5], [5, 6, 7, 8, 10], [9, 10, 1, 2, 3]], 12)
    base = worlds.catalog({}, 12)
    catalog = replace(base, images=open_images(folder, base.item_ids))
    people = np.array(["a", "b", "b"])
    encoders = {"image": "pixels", "text": "words"}
    return Dataset("small", catalog, chosen, test_episodes(chosen, people), encoders, people=people)


def with_catalog(data, **columns):
    return replace(data, catalog=replace(data.catalog, **columns))


def test_what_there_is_is_counted(data):
    assert counts(data) == {
        "choices": 15,
        "people": 2,
        "users": 3,
        "episodes": 3,
        "items": 12,
        "items chosen": 11,
        "categories": 12,
        "pictures": 10,
        "items without picture": 2,
        "choices of items without picture": 2,
        "pictures of unknown items": 1,
    }


def test_whole_data_can_be_used_and_equal_pictures_are_named(data):
    found = examine(data)
    assert found.verdict == "yes"
    assert (found.counts["pictures decoded"], found.counts["broken pictures"]) == (10, 0)
    assert found.counts["groups of equal pictures"] == 1
    assert found.counts["episodes that show the reference"] == 1  # i3 is asked for, i1 in the history
    assert "byte-identical pictures: i1 = i3" in found.remarks


def test_a_broken_picture_makes_it_unusable_and_all_others_are_still_looked_at(data, folder):
    for name in ("i4.png", "i8.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:50])
    found = examine(with_catalog(data, images=open_images(folder, data.catalog.item_ids)))
    assert found.counts["pictures decoded"] == 10
    assert found.counts["broken pictures"] == 2
    assert found.verdict.startswith(f"no: 2 pictures cannot be decoded, first {folder / 'i4.png'}: ")


def test_a_sample_of_pictures_is_drawn_alike_each_time(data, folder):
    (folder / "i4.png").write_bytes(b"no picture")
    tried = [decode(data.catalog.images, sample=k) for k in range(11)]
    assert [d.n for d in tried] == list(range(11))
    assert len(tried[10].broken) == 1
    assert tried[5] == decode(data.catalog.images, sample=5)
    assert tried[10].mean_bytes == 8 * 6 * 3


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("Amélie", False),
        ("AmÃ©lie", True),  # UTF-8 read as Latin-1
        ("Itâ€™s", True),
        ("Am\ufffdlie", True),
        ("a\x07b", True),
        ("ÄÖÜ, naïve, ½ – “so”", False),
        ("苹果 Ελληνικά русский", False),
        ("plain\nand\ttabs", False),
    ],
)
def test_text_of_another_encoding_is_told_from_foreign_words(text, garbled):
    ids = ["a", "b"]
    for titles, captions in (([text, "x"], ids), (ids, [text, "x"])):
        assert garbled_texts(Catalog(ids, titles, captions, ids)).tolist() == [garbled, False]


def test_texts_are_counted_and_an_item_without_words_is_a_problem(data):
    captions, titles = data.catalog.captions.astype(object), data.catalog.titles.astype(object)
    captions[[2, 5]] = " "
    titles[7] = "AmÃ©lie"
    found = examine(with_catalog(data, captions=captions, titles=titles))
    assert found.verdict == "yes"
    assert (found.counts["empty captions"], found.counts["items with garbled text"]) == (2, 1)
    assert "text of another encoding, by item: i7" in found.remarks
    titles[5] = ""
    mute = with_catalog(data, captions=captions, titles=titles)
    assert examine(mute).verdict == "no: 1 items have neither caption nor title, first 'i5'"
    assert examine(replace(mute, encoders={"image": "pixels"})).verdict == "yes"


def test_what_nothing_can_be_done_without(data, tmp_path):
    train = data.interactions.with_split(np.full(15, "train"))
    found = examine(replace(data, interactions=train, episodes=()))
    assert found.problems == ("no episode: no user has a test choice and a history", "no valid choices")
    (tmp_path / "none").mkdir()
    bare = with_catalog(data, images=open_images(tmp_path / "none", data.catalog.item_ids))
    assert examine(bare).problems == ("no item has a picture",)
    none = replace(with_catalog(data, images=None), encoders={"text": "words"})
    assert examine(none).verdict == "yes"
    assert "pictures" not in examine(none).counts


def test_an_answer_known_to_the_person_is_counted(data):
    found = examine(data)
    assert found.counts["test choices known to the person"] == 1  # i10, asked of user 1, chosen as user 2
    episodes = tuple(replace(e, source_user="b") for e in data.episodes)
    data = replace(data, episodes=episodes, people=np.full(3, "b"))
    found = examine(data)  # and i5, asked of user 0, chosen as user 1
    assert found.counts["people"] == 1
    assert found.counts["test choices known to the person"] == 2
    assert "2 test choices that the same person made outside the test too" in found.remarks


@pytest.mark.parametrize("spec", ["pixels", "words"])
def test_memory_is_estimated_with_the_widths_that_encoders_have(spec):
    encoder = make_encoder(spec)
    if spec == "words":
        x = encoder.encode_texts(["a word"])
    else:
        x = encoder.encode_images([Image.new("RGB", (9, 9))])
    assert x.shape[1] == WIDTHS[spec]


def test_memory_of_a_catalogue_of_230_thousand(data):
    many = [f"i{i}" for i in range(230_000)]
    large = replace(
        data,
        catalog=Catalog(many, many, many, many),
        encoders={"image": "efficientnet-lite0", "text": "minilm"},
    )
    features = 230_000 * (1280 + 384) * 4 / 2**20
    assert memory(large)["MiB of features"] == pytest.approx(features, abs=1)
    assert memory(large)["MiB of item graphs"] == pytest.approx(230_000 * 10 * 20 * 4 / 2**20, abs=1)


def test_published_counts_are_compared_and_rounded_ones_agree_nearly():
    exact = Published("A", "a paper", {"items": 100, "people": 7})
    assert exact.differences({"items": 100, "people": 7, "choices": 5}) == []
    assert exact.differences({"items": 101}) == ["items 101, published 100"]
    about = Published("B", "a page", {"items": 150_000}, rounded=True)
    assert about.differences({"items": 152_311}) == []
    assert about.differences({"items": 110_000}) == ["items 110,000, published about 150,000"]


def test_another_edition_is_not_held_against_this_one():
    small = {"choices": 100_836, "people": 610, "items": 9_742}
    assert [known.name for known in published("movielens", small)] == ["ml-latest-small", "RAGAR"]
    assert [known.name for known in published("movielens", {**small, "people": 609})] == [
        "ml-latest-small",
        "RAGAR",
    ]
    large = {"choices": 25_000_095, "people": 162_541, "items": 62_423}
    assert [known.name for known in published("movielens", large)] == ["ml-25m"]
    assert published("boutique", small) == []


def test_published_counts_have_the_names_that_are_counted(data):
    names = set(examine(data).counts)
    assert {count for sets in PUBLISHED.values() for known in sets for count in known.counts} <= names
    assert all(known.source for sets in PUBLISHED.values() for known in sets)


@pytest.mark.recbole
def test_ml_100k_is_as_published():
    found = counts(open_data("ml-100k"))
    assert [known.differences(found) for known in published("ml-100k", found)] == [[]]


@pytest.mark.real
def test_the_real_movielens_is_as_published():
    folder = REAL / "movielens"
    if not folder.is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    found = examine(load(folder), sample=50)
    assert found.verdict == "yes"
    wanted = {
        "choices": 100_836,
        "people": 610,
        "items": 9_742,
        "pictures": 9_517,
        "items without picture": 225,
        "choices of items without picture": 507,
        "groups of equal pictures": 4,
        "items with garbled text": 0,
    }
    assert {name: found.counts[name] for name in wanted} == wanted
    remark = "byte-identical pictures: 6003 = 144606, 8484 = 26048 = 26073, 32600 = 147002, 50740 = 52767"
    assert remark in found.remarks
    told = {known.name: known.differences(found.counts) for known in published("movielens", found.counts)}
    assert told == {"ml-latest-small": [], "posters_128": [], "RAGAR": ["episodes 4,769, published 4,689"]}
