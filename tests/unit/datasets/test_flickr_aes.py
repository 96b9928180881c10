"""FLICKR-AES: a header with spaces, scores of workers, scores of all, sequences in the order of rows."""

import json

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.flickr_aes import RATINGS, SCORES, load

HEADERS = {"published": "worker, imagePair, score", "cleaned": "worker,imagePair,score"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def folder(tmp_path, header="published", rows=None, scores=None):
    """Six workers rate 10 photographs each, scores 1 to 5 in turn; f12 is in the score file alone."""
    path = tmp_path / "flickr"
    (path / "40K").mkdir(parents=True, exist_ok=True)
    comma = ", " if header == "published" else ","
    made = [f"W{w}{comma}farm_{(w + k) % 12}_f.jpg{comma}{1 + k % 5}" for w in range(6) for k in range(10)]
    (path / RATINGS).write_text("\n".join([HEADERS[header], *(made if rows is None else rows)]) + "\n")
    lines = [f" farm_{i}_f.jpg 0.{i:02d}" for i in range(13)]
    (path / SCORES).write_text("\n".join(lines if scores is None else scores) + "\n")
    for i in range(11):
        Image.new("RGB", (4, 4), (20 * i,) * 3).save(path / "40K" / f"farm_{i}_f.jpg")
    return path


@pytest.mark.parametrize("header", HEADERS)
def test_as_published_and_cleaned(tmp_path, header):
    data = load(folder(tmp_path, header), sequence_length=3)
    ids = data.catalog.item_ids
    assert sorted(ids) == sorted(f"farm_{i}_f" for i in range(13))
    first = data.episodes[0]
    assert (first.source_user, [str(ids[i]) for i in first.history], str(ids[first.reference])) == (
        "W0", ["farm_2_f", "farm_3_f"], "farm_4_f",
    )  # fmt: skip
    assert data.interactions.weight[:3].tolist() == [3, 4, 5]
    assert data.aesthetic[data.catalog.row_of["farm_12_f"]] == 0.12
    assert data.encoders == {"image": "efficientnet-lite0"}
    assert data.notes == (
        "60 ratings by 6 workers of 12 photographs; 13 photographs with a score of all",
        "24 ratings below 3 left out (min_score)",
        "12 sequences of 3 by floor rule, oldest first: one episode each",
        "2 photographs without picture: mean image feature, flagged as absent",
    )


def test_dislikes_are_no_choices_but_stay_known(tmp_path):
    data = load(folder(tmp_path), sequence_length=3)
    low = data.not_chosen
    told = zip(low.person.tolist(), data.catalog.item_ids[low.item].tolist(), low.score.tolist(), strict=True)
    assert [row for row in told if row[0] == "W1"] == [
        ("W1", "farm_1_f", 1), ("W1", "farm_2_f", 2), ("W1", "farm_6_f", 1), ("W1", "farm_7_f", 2),
    ]  # fmt: skip
    assert len(low.score) == 24
    assert len(load(folder(tmp_path), sequence_length=3, min_score=1).not_chosen.score) == 0


def test_captions_and_styles_lie_beside(tmp_path):
    path = folder(tmp_path)
    (path / "FLICKR_captions.json").write_text(json.dumps({f"farm_{i}_f": f"a boat {i}" for i in range(13)}))
    (path / "FLICKR_styles.json").write_text(json.dumps([{"worker": "W0", "style": "boats"}]))
    data = load(path, sequence_length=3)
    assert data.catalog.captions[data.catalog.row_of["farm_2_f"]] == "a boat 2"
    assert data.encoders == {"image": "efficientnet-lite0", "text": "minilm"}
    assert data.styles == {"W0": "boats"}


def test_a_photograph_rated_twice_counts_once(tmp_path):
    rows = [f"W,p{k}.jpg,5" for k in range(4)] + ["W,p1.jpg,3"]
    data = load(folder(tmp_path, rows=rows), sequence_length=4)
    (episode,) = data.episodes
    assert [str(data.catalog.item_ids[i]) for i in (*episode.history, episode.reference)] == [
        "p0",
        "p2",
        "p3",
        "p1",
    ]
    assert data.interactions.weight.tolist() == [5, 5, 5, 3]
    assert "1 photographs rated twice by one worker: the later rating counts" in data.notes


BAD = [
    ({"rows": ["W,p.jpg,6"]}, f"{RATINGS}, row 2: score must be 1, 2, 3, 4 or 5, got 6"),
    ({"rows": ["W,p.jpg,good"]}, f"{RATINGS}, row 2: score must be a finite number, got 'good'"),
    ({"rows": [", p.jpg, 4"]}, f"{RATINGS}, row 2: worker must be an id, got an empty one"),
    ({"scores": ["p.jpg 1.5"]}, f"{SCORES}, row 1: a name and a score in [0, 1] are wanted, got 'p.jpg 1.5'"),
    ({"scores": ["p.jpg 0.5", "", "p.jpg 0.5"]}, f"{SCORES}, row 3: 'p' stands a second time"),
]


@pytest.mark.parametrize(("change", "expected"), BAD)
def test_a_bad_line_is_one_error(tmp_path, change, expected):
    with pytest.raises(DataError) as caught:
        load(folder(tmp_path, **change), sequence_length=3)
    assert expected in str(caught.value)


def test_a_column_that_is_missing_is_named(tmp_path):
    path = folder(tmp_path)
    (path / RATINGS).write_text("worker, image, score\nW, p.jpg, 4\n")
    with pytest.raises(DataError, match="'imagePair' is missing; got worker, image, score"):
        load(path)


def test_every_photograph_is_read_as_itself(tmp_path):
    catalog = load(folder(tmp_path), sequence_length=3).catalog
    for row in np.flatnonzero(catalog.images.present):
        number = int(catalog.item_ids[row].split("_")[1])
        assert catalog.images.read(row).getpixel((0, 0))[0] == pytest.approx(20 * number, abs=3)  # JPEG
