"""Readers of published folders, one file of each changed byte by byte: read, or refused as a DataError."""

import io
import json
import pickle
import shutil
import tarfile
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.opening import open_data

SETTINGS = {
    "movielens": {"sequence_length": 3},
    "pog": {"n_users": None, "reference": "outfit"},
    "ser30k": {"n_users": 5},
    "flickr-aes": {"sequence_length": 3},
    "gallery": {},
    "unified": {},
    "pmg-movieposter": {"sequence_length": 3},
    "pmg-pog": {},
    "pmg-ser30k": {"n_users": 5},
}


def contents():
    """{spec: {file: bytes}}: small folders in each layout."""
    record = {
        "user_id": "u", "history_item_ids": ["1", "2"], "history_items_info": [
            {"item_id": "1", "caption": "a", "image_path": "p/1.png"}, {"item_id": "2", "score": 4},
        ], "target_item_id": "3", "target_item_info": {"item_id": "3"}, "window_position": 0,
    }  # fmt: skip
    sticker = [
        {"topic": f"t{t}", "file_name": f"{k}.png", "anno": 1, "text": ""} for t in "abc" for k in "12"
    ]
    cub = {"images.txt": "1 001.A/x.png\n2 002.B/y.png\n", "classes.txt": "1 001.A\n2 002.B\n"}
    films, ratings = (
        [f'{m},"Film, {m}",War|Drama' for m in range(9)],
        [f"1,{m},4.5,{m}" for m in range(9)],
    )
    scores = [f"W, p{k}.jpg, {3 + k % 3}" for k in range(7)]
    coats = [f'{m},c,"Coat, {m}",' for m in range(9)]
    made = {
        "movielens": {
            "ratings.csv": "\n".join(["userId,movieId,rating,timestamp", *ratings]),
            "movies.csv": "\n".join(["movieId,title,genres", *films]),
        },
        "pog": {
            "user_data.txt": "a,1;2;3,o1\nb,2;3;4;4,o2\n",
            "item_data.txt": "".join(f"{i},c,//x,Coat, {i}\n" for i in range(9)),
            "outfit_data.txt": "o1,5;6\no2,7;8\n",
            "user_styles.json": json.dumps([{"user": "a", "style": "plain"}]),
        },
        "ser30k": {
            "Annotations/image-level/train.json": json.dumps({"annotations": sticker, "categories": {"x": 1}})
        },
        "flickr-aes": {
            "FLICKR-AES_image_labeled_by_each_worker.csv": "\n".join(["worker, imagePair, score", *scores]),
            "FLICKR-AES_image_score.txt": "".join(f" p{k}.jpg 0.{k}\n" for k in range(7)),
            "FLICKR_captions.json": json.dumps({"p1": "a boat"}),
        },
        "gallery": {"metadata.csv": "path,identity,species\nx.png,a,cat\ny.png,b,cat\nz.png,b,cat\n"},
        "gallery:cub": {**cub, "image_class_labels.txt": "1 1\n2 2\n"},
        "unified": {"test.json": json.dumps([record, record | {"user_id": "v"}])},
        "pmg-movieposter": {
            "ratings.csv": "\n".join(["userId,movieId,rating,timestamp", *ratings]),
            "info.csv": "\n".join(["id,name,genre", *films]),
            "my_valid_data.txt": "0;1,2\n3;5;8,1",
        },
        "pmg-pog": {
            "item_data.csv": "\n".join(["item_id,cate_id,title,desc", *coats]),
            "outfit_data.csv": 'outfit_id,item_ids\no1,"1,2"',
            "user_data.csv": "user_id,item_history,outfit_history\na,1;2;3,o1\nb,2;3;4;4,",
            "captions.json": json.dumps({"1": "a coat"}),
        },
        "pmg-ser30k": {"annotations/train.json": json.dumps({"annotations": sticker})},
    }
    found = {spec: {name: text.encode() for name, text in files.items()} for spec, files in made.items()}
    captions = pickle.dumps({m: ["a", "b"] if m % 2 else "c" for m in range(8)})
    images = pickle.dumps({m: np.full((2, 3, 3), m, dtype=np.uint8) for m in range(8)})
    found["pmg-movieposter"] |= {"target_captions.pkl": captions, "image_data.pkl": images}
    found["pmg-pog"]["images.tar.gz"] = archive()
    return found


def archive():
    """A compressed tar of one picture."""
    picture, out = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (2, 2)).save(picture, "PNG")
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        info = tarfile.TarInfo("1.png")
        info.size = len(picture.getvalue())
        made.addfile(info, io.BytesIO(picture.getvalue()))
    return out.getvalue()


FOLDERS = contents()
FILES = [(spec, name) for spec, files in FOLDERS.items() for name in files]

bits = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"", b"\x00", b"\xff\xfe", b'"', b"\n", b"\r", b",", b";", b"NaN", b"1e999", b"-1", b"../x", b"/etc"]
    ),
    st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
changes = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 12), bits), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A folder for each layout, with its pictures; a cache of their own."""
    made = {}
    for spec, files in FOLDERS.items():
        root = tmp_path_factory.mktemp(spec.replace(":", "-"))
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        for name in ("x.png", "y.png", "z.png", "p/1.png", "images/001.A/x.png", "images/002.B/y.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2)).save(root / name)
        made[spec] = root
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(cache))
        yield made
    for root in (*made.values(), cache):
        shutil.rmtree(root, ignore_errors=True)


def opened_or_refused(roots, spec, name, edits):
    content = bytearray(FOLDERS[spec][name])
    for place, length, bit in edits:
        at = place % (len(content) + 1)
        content[at : at + length] = bit
    file = roots[spec] / name
    file.write_bytes(bytes(content))
    kind = spec.partition(":")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = open_data(f"{kind}:{roots[spec]}", **SETTINGS[kind])
            assert len(data.catalog) > 0
    except DataError as error:
        assert str(error)  # noqa: PT017 (nothing else may come out)
    finally:
        file.write_bytes(FOLDERS[spec][name])


def test_the_folders_are_good_as_they_are(roots):
    for spec, root in roots.items():
        kind = spec.partition(":")[0]
        assert len(open_data(f"{kind}:{root}", **SETTINGS[kind]).catalog) > 0


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FILES), changes)
def test_a_changed_file_is_read_or_refused(roots, file, edits):
    opened_or_refused(roots, *file, edits)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.sampled_from(FILES), changes)
def test_a_changed_file_is_read_or_refused_100_000_times(roots, file, edits):
    opened_or_refused(roots, *file, edits)
