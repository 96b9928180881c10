"""SER30K: annotations and topics, simulated users, and the real stickers in this layout."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from real_data import REAL

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.ser30k import load

EMOTIONS = {"anger": 1, "fear": 2, "joy": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def annotations(topics=6, each=5):
    return [
        {
            "topic": f"{t:02d}-topic-{t}",
            "file_name": f"{k}.png",
            "anno": 1 + (t + k) % 4,
            "text": "hi" * (k % 2),
        }
        for t in range(topics)
        for k in range(each)
    ]


def write(path, parts, **more):
    (path / "Annotations" / "image-level").mkdir(parents=True, exist_ok=True)
    for name, entries in parts.items():
        file = path / "Annotations" / "image-level" / f"{name}.json"
        file.write_text(json.dumps({"annotations": entries, **more}))


@pytest.fixture
def folder(tmp_path):
    path, entries = tmp_path / "ser", annotations()
    write(path, {"train": entries[::2], "val": entries[1::4], "test": entries[3::4]}, categories=EMOTIONS)
    for k, entry in enumerate(entries[:-1]):
        file = path / "Images" / entry["topic"] / entry["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (k, 0, 0)).save(file)
    Image.new("RGB", (4, 4)).save(path / "Images" / entries[0]["topic"] / "extra.png")
    return path


def test_stickers_topics_and_users(folder):
    data = load(folder, n_users=50, history_length=4)
    catalog = data.catalog
    assert len(catalog) == 30
    row = catalog.row_of["03-topic-3/4.png"]
    assert catalog.categories[row] == "03-topic-3"
    assert catalog.captions[row] == "a sticker of topic 3, emotion 4"
    assert catalog.captions[catalog.row_of["01-topic-1/1.png"]] == (
        'a sticker of topic 1, joy, with the words "hi"'
    )
    assert catalog.images.read(row).getpixel((0, 0)) == (19, 0, 0)  # not another topic's 4.png
    assert len(data.episodes) == 50
    for episode in data.episodes:
        topics = set(catalog.categories[list(episode.history)])
        assert len(topics) <= 2
        assert catalog.categories[episode.reference] not in topics
    assert data.notes == (
        "30 stickers of 6 topics; 50 simulated users of two topics each, up to 4 stickers, "
        "reference from another topic (no ranker can guess it), seed 0",
        "1 stickers without picture: mean image feature, flagged as absent",
        "1 pictures not used: no annotation names them",
    )
    assert load(folder, n_users=50, seed=1).fingerprint != load(folder, n_users=50).fingerprint


def test_captions_beside_go_first(folder):
    (folder / "ser30k_captions.json").write_text(json.dumps({"00-topic-0/0.png": "a bear waves"}))
    data = load(folder, n_users=5)
    assert data.catalog.captions[0] == "a bear waves"
    assert "29 of 30 items without caption: other words stand for it" in data.notes


BAD = [
    ({"anno": 8}, "anno must be an emotion from 1 to 7, got 8"),
    ({"topic": None}, "topic, file_name and anno are wanted, one is missing"),
    ({"anno": "joy"}, "anno must be a whole number from 0, got 'joy'"),
    ({"topic": "../x"}, "topic and file_name must be plain names, got '../x'"),
    ({"text": 5}, "text must be text, got 5"),
    ({"file_name": "1.png"}, "'00-topic-0/1.png' stands a second time; first in"),
]


def test_a_sticker_without_emotion(folder):
    entries = annotations()
    entries[0]["anno"] = None
    write(folder, {"train": entries, "val": [], "test": []})
    catalog = load(folder, n_users=5).catalog
    assert catalog.captions[catalog.row_of["00-topic-0/0.png"]] == "a sticker of topic 0"
    del entries[0]["anno"]
    write(folder, {"train": entries})
    with pytest.raises(DataError, match="topic, file_name and anno are wanted, one is missing"):
        load(folder)


@pytest.mark.parametrize(("change", "expected"), BAD)
def test_a_bad_annotation_is_one_error(folder, change, expected):
    entries = annotations()
    entries[0].update(change)
    write(folder, {"train": entries, "val": [], "test": []})
    with pytest.raises(DataError) as caught:
        load(folder)
    assert expected in str(caught.value)
    assert "train.json, row top level, annotations[" in str(caught.value)


def test_a_folder_without_annotations(tmp_path):
    with pytest.raises(DataError, match=r"Annotations/image-level with train\.json, val\.json, test\.json"):
        load(tmp_path)
    write(tmp_path, {"train": annotations(topics=2)})
    with pytest.raises(DataError, match="three themes are wanted"):
        load(tmp_path)


@pytest.mark.real
def test_the_stickers_in_this_layout(tmp_path):
    if not (REAL / "stickers").is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    with (REAL / "stickers" / "stickers.csv").open(encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    groups = sorted({row["group"] for row in rows})
    entries = [
        {
            "topic": row["topic"],
            "file_name": row["file_name"],
            "anno": 1 + groups.index(row["group"]) % 7,
            "text": row["annotation"],
        }
        for row in rows
    ]
    write(tmp_path, {"train": entries[::2], "val": entries[1::4], "test": entries[3::4]})
    data = load(tmp_path, images=str(REAL / "stickers" / "stickers.tar"))
    assert len(data.catalog) == 6_228
    assert len(np.unique(data.catalog.categories)) == 315
    assert data.catalog.images.present.all()
    assert data.catalog.images.unmatched == 0
    assert len(data.episodes) == 2_230
    row = data.catalog.row_of["twemoji--face-smiling/1F600.png"]
    assert data.catalog.images.read(row).size == (64, 64)
