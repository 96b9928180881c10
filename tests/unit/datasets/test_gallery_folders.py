"""Galleries as they lie on disks: what programs leave behind is no identity, and a split is none either."""

import itertools
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.gallery import load
from recsim_gen.datasets.opening import open_data

LITTER = [".ipynb_checkpoints", "__MACOSX", ".git", "ipynb_checkpoints", ".cache", "@eaDir"]
SPLITS = ["train", "test", "val", "Validation", "training_set", "testing", "query", "test-images"]
NAMES = st.text("abcdefgh ", min_size=2, max_size=6).map(str.strip).filter(lambda name: len(name) > 1)


def picture(file, shade=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file)


def gallery(folder, identities=("rex", "momo", "tilda"), pictures=4, parts=("",)):
    """Pictures of these identities, numbered through, in each part of the folder."""
    number = itertools.count()
    for part, name, _ in itertools.product(parts, identities, range(pictures)):
        picture(folder / part / name / f"{next(number):05d}.png")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def test_what_jupyter_and_macos_leave_behind_is_no_identity(tmp_path):
    dogs = gallery(tmp_path / "g" / "dogs")
    clean = open_data(f"gallery:{tmp_path / 'g'}")
    for place in ("rex/.ipynb_checkpoints", ".ipynb_checkpoints", "__MACOSX/dogs/rex", "momo"):
        picture(dogs / place / "._00000.png")
    picture(dogs / "rex" / ".ipynb_checkpoints" / "00000-checkpoint.png")
    picture(dogs / "rex" / "00000-checkpoint.png")
    (tmp_path / "g" / "._labels.csv").write_text("nothing")
    littered = open_data(f"gallery:{tmp_path / 'g'}")
    assert littered.counts == clean.counts == {"all": {"momo": 4, "rex": 4, "tilda": 4}}
    assert littered.fingerprint == clean.fingerprint
    (told,) = set(littered.notes) - set(clean.notes)
    assert told.startswith("g: 6 pictures left aside: hidden, or a program's own copies, such as ")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(NAMES, min_size=2, max_size=4, unique=True),
    st.lists(st.tuples(st.sampled_from(LITTER), st.booleans(), st.booleans()), max_size=4),
    st.booleans(),
)
def test_litter_anywhere_changes_no_count(tmp_path_factory, names, litter, packed):
    folder = tmp_path_factory.mktemp("g")
    gallery(folder / "g", names, pictures=2)
    clean = load(folder / "g")
    for name, inside, apple in litter:
        place = folder / "g" / (f"{names[0]}/{name}" if inside else name)
        picture(place / ("._1.png" if apple else "1.png"))
    if packed:
        with tarfile.open(folder / "g.tar", "w") as archive:
            archive.add(folder / "g", "g")
    assert load(folder / ("g.tar" if packed else "g")).fingerprint == clean.fingerprint


def test_a_picture_called_checkpoint_stays_where_it_is_no_copy(tmp_path):
    picture(tmp_path / "border" / "berlin-checkpoint.png")
    picture(tmp_path / "border" / "gate.png")
    assert load(tmp_path).counts == {"all": {"border": 2}}


def test_classes_in_train_and_test_are_one_each(tmp_path):
    cars = ["Opel Corsa Hatchback 2009", "Skoda Octavia Wagon 2011", "Fiat Panda 2007"]
    gallery(tmp_path / "g" / "car_data", cars, pictures=3, parts=("train", "test"))
    data = open_data(f"gallery:{tmp_path / 'g'}")
    assert data.counts == {"all": dict.fromkeys(sorted(cars), 6)}
    assert sorted(data.catalog.item_ids.tolist())[0] == "test/Fiat Panda 2007/00015.png"
    assert "folders test, train are splits, no identities or groups: their pictures are joined" in data.notes


@settings(max_examples=25, deadline=None)
@given(
    st.lists(NAMES, min_size=2, max_size=3, unique=True),
    st.lists(st.sampled_from(SPLITS), min_size=1, max_size=3, unique=True),
    st.sampled_from(["{split}/{name}", "{name}/{split}", "all/{split}/{name}", "{split}/cats/{name}"]),
)
def test_a_split_is_neither_identity_nor_group_wherever_it_stands(tmp_path_factory, names, splits, layout):
    folder = tmp_path_factory.mktemp("g")
    number = itertools.count()
    for name, split in itertools.product(names, splits):
        picture(folder / layout.format(name=name, split=split) / f"{next(number)}.png")
    (counts,) = load(folder).counts.values()
    assert counts == dict.fromkeys(sorted(names), len(splits))


def test_a_dog_called_test_is_an_identity(tmp_path):
    gallery(tmp_path, ["rex", "test"], pictures=2)
    assert load(tmp_path).counts == {"all": {"rex": 2, "test": 2}}


def test_pictures_of_a_test_set_without_labels_are_nobody(tmp_path):
    gallery(tmp_path / "train", ["rex", "momo"], pictures=2)
    picture(tmp_path / "test" / "99.png")
    data = load(tmp_path)
    assert data.counts == {"all": {"momo": 2, "rex": 2}}
    assert "1 pictures in no folder left out" in data.notes


MARKET = ["bounding_box_train", "bounding_box_test", "query"]


@pytest.mark.parametrize("parts", [MARKET, MARKET[1:2], [""]])
def test_names_of_re_identification_say_who_is_shown(tmp_path, parts):
    for part in parts:
        for who in ("0002", "0007", "1501"):
            for camera in (1, 2):
                picture(tmp_path / "market" / part / f"{who}_c{camera}s1_000451_03.png")
        picture(tmp_path / "market" / part / "-1_c1s1_000401_03.png")
        picture(tmp_path / "market" / part / "0000_c1s1_000401_03.png")
    data = load(tmp_path / "market")
    assert data.counts == {"all": dict.fromkeys(["0002", "0007", "1501"], 2 * len(parts))}
    assert f"{2 * len(parts)} pictures of -1 and 0000 (no person, in Market-1501) left out" in data.notes


def test_folders_win_over_numbers_in_names(tmp_path):
    for name in ("rex", "momo"):
        for k in range(2):
            picture(tmp_path / name / f"{k:04d}_c1.png")
    assert load(tmp_path).counts == {"all": {"momo": 2, "rex": 2}}


def test_only_loose_pictures_are_refused(tmp_path):
    picture(tmp_path / "train" / "a.png")
    with pytest.raises(DataError, match="pictures in folders named by identity"):
        load(tmp_path)
