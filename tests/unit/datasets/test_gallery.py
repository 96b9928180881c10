"""Identity galleries: four layouts give one thing, and smaller galleries are what was asked for."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.gallery import load
from recsim_gen.datasets.opening import open_data

# group, identity, pictures
WORLD = [
    ("wren", "House_Wren", 4),
    ("wren", "Winter_Wren", 6),
    ("tern", "Black_Tern", 3),
    ("tern", "Elf_Tern", 5),
]
SHOWN = [(g, i, k) for g, i, n in WORLD for k in range(n)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def picture(file, shade):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file)


def folders(path):
    for shade, (group, identity, k) in enumerate(SHOWN):
        picture(path / group / identity / f"{k}.png", shade)
    return path


def cub(path):
    species = [f"{1 + n:03d}.{identity}" for n, (_, identity, _) in enumerate(WORLD)]
    place = {identity: name for (_, identity, _), name in zip(WORLD, species, strict=True)}
    names = [f"{place[identity]}/{k}.png" for _, identity, k in SHOWN]
    for shade, name in enumerate(names):
        picture(path / "images" / name, shade)
    lists = {
        "images": names,
        "image_class_labels": [1 + species.index(name.partition("/")[0]) for name in names],
        "classes": species,
    }
    for name, lines in lists.items():
        (path / f"{name}.txt").write_text("".join(f"{k} {line}\n" for k, line in enumerate(lines, start=1)))
    return path


def table(path):
    rows = []
    for shade, (group, identity, k) in enumerate(SHOWN):
        picture(path / "crops" / f"{shade:02d}.png", shade)
        rows.append(f"crops/{shade:02d}.png,{identity},{group},{k}")
    (path / "metadata.csv").write_text("\n".join(["path, individual, species, encounter", *rows]))
    return path


def tar(path):
    folders(path / "unpacked")
    with tarfile.open(path / "all.tar", "w") as archive:
        archive.add(path / "unpacked", "cars/train")
    return path / "all.tar"


@pytest.mark.parametrize("layout", [folders, cub, table, tar])
def test_every_layout_gives_the_same_identities(tmp_path, layout):
    gallery = open_data(f"gallery:{layout(tmp_path / 'g')}")
    assert gallery.counts == {
        "tern": {"Elf_Tern": 5, "Black_Tern": 3},
        "wren": {"Winter_Wren": 6, "House_Wren": 4},
    }
    shades = {
        gallery.catalog.images.read(row).getpixel((0, 0))[0]: (gallery.group[row], gallery.identity[row])
        for row in range(len(gallery.catalog))
    }
    assert shades == {shade: (group, identity) for shade, (group, identity, _) in enumerate(SHOWN)}
    assert gallery.notes == ("18 pictures of 4 identities in 2 groups",)


def test_an_identity_is_a_user_of_its_pictures(tmp_path):
    gallery = load(folders(tmp_path / "g"))
    assert [e.source_user for e in gallery.episodes] == [
        "Black_Tern",
        "Elf_Tern",
        "House_Wren",
        "Winter_Wren",
    ]
    for episode in gallery.episodes:
        rows = [*episode.history, episode.reference]
        assert set(gallery.identity[rows]) == {episode.source_user}
        assert len(rows) == (gallery.identity == episode.source_user).sum()


def test_smaller_galleries(tmp_path):
    gallery = load(folders(tmp_path / "g"))
    largest = gallery.only(identities=1, images=4)
    assert largest.counts == {"tern": {"Elf_Tern": 4}, "wren": {"Winter_Wren": 4}}
    assert largest.catalog.item_ids[0] == "tern/Elf_Tern/0.png"
    assert gallery.only(["wren"]).counts == {"wren": {"Winter_Wren": 6, "House_Wren": 4}}
    drawn = [gallery.only(images=2, rng=Rng(s)).catalog.item_ids.tolist() for s in range(6)]
    assert {len(ids) for ids in drawn} == {8}
    assert len({tuple(ids) for ids in drawn}) > 1
    small = gallery.only(["tern"], images=2, rng=Rng(1))
    shade = SHOWN.index(("tern", small.identity[0], int(small.catalog.item_ids[0][-5])))
    assert small.catalog.images.read(0).getpixel((0, 0))[0] == shade
    with pytest.raises(DataError, match=r"no group 'wrens'\. Did you mean 'wren'"):
        gallery.only(["wrens"])


def test_equal_names_in_two_groups_are_two_identities(tmp_path):
    for shade, place in enumerate(["cats/left", "dogs/left", "dogs/right"]):
        picture(tmp_path / "g" / place / "a.png", shade)
    gallery = load(tmp_path / "g")
    assert gallery.identity.tolist() == ["left (cats)", "left (dogs)", "right"]


def test_a_plain_folder_of_identities(tmp_path):
    for shade, place in enumerate(
        ["train/Audi A4 2011/1.jpg", "train/Audi A4 2011/2.jpg", "train/BMW X5/1.jpg"]
    ):
        picture(tmp_path / "g" / place, shade)
    picture(tmp_path / "g" / "overview.png", 99)
    gallery = load(tmp_path / "g")
    assert gallery.counts == {"all": {"Audi A4 2011": 2, "BMW X5": 1}}
    assert gallery.catalog.captions[0] == "a picture of Audi A4 2011"
    assert gallery.notes[1] == "1 pictures in no folder left out"
    assert np.array_equal(gallery.catalog.images.present, [True] * 3)


def test_pictures_that_are_listed_and_missing_are_counted(tmp_path):
    path = table(tmp_path / "g")
    (path / "crops" / "03.png").unlink()
    gallery = load(path)
    assert len(gallery.catalog) == 17
    assert gallery.notes[1] == "1 pictures that are listed do not exist: left out"


BAD = [
    (
        "path,who\na.png,x",
        "metadata.csv, row 1: a column identity is wanted (or individual, label, class, name)",
    ),
    ("picture,identity\na.png,x", "metadata.csv, row 1: a column file is wanted (or path, image"),
    ("path,identity\n../a.png,x", "metadata.csv, row 2: '../a.png' leads out of"),
    (
        "path,identity\ncrops/01.png,x\ncrops/01.png,y",
        "metadata.csv, row 3: (path) = ('crops/01.png') stands",
    ),
    ("path,identity\ncrops/01.png,", "metadata.csv, row 2: identity must be an id, got an empty one"),
    ("path,identity\ncrops,x", "'crops' is no plain file"),
    ("path,identity\nnone.png,x", "pictures in folders named by identity, a CSV, or the lists of CUB"),
]


@pytest.mark.parametrize(("content", "expected"), BAD)
def test_a_bad_table_is_one_error(tmp_path, content, expected):
    path = table(tmp_path / "g")
    (path / "metadata.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        load(path)
    assert expected in str(caught.value)


def test_broken_lists_of_cub_and_ambiguous_tables(tmp_path):
    path = cub(tmp_path / "g")
    lines = (path / "image_class_labels.txt").read_text().splitlines()
    (path / "image_class_labels.txt").write_text("\n".join(lines[1:]))
    with pytest.raises(DataError, match=r"images\.txt, row 1: picture 1 has no species"):
        load(path)
    (path / "image_class_labels.txt").write_text("\n".join([lines[0], lines[0]]))
    with pytest.raises(DataError, match=r"row 2: a number of its own and a word are wanted, got '1 1'"):
        load(path)
    other = table(tmp_path / "h")
    (other / "more.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"one CSV file is wanted, got metadata\.csv, more\.csv"):
        load(other)
    assert len(load(other / "metadata.csv").catalog) == 18
    with pytest.raises(DataError, match="a folder or tar of pictures is wanted, got nothing"):
        load(tmp_path / "nowhere")
