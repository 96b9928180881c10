"""Round trips: what is written in a PMG-Bench layout is read back equal, small and real."""

import csv
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from real_data import REAL

from recsim_gen.core.types import Dataset
from recsim_gen.datasets import movielens, ser30k
from recsim_gen.datasets.leaks import find_leaks
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.pmg_bench.movieposter_writer import write_pmg_movieposter
from recsim_gen.datasets.pmg_bench.pog_writer import write_pmg_pog
from recsim_gen.datasets.pmg_bench.ser30k_writer import write_pmg_ser30k

WRITERS = {"pmg-movieposter": write_pmg_movieposter, "pmg-pog": write_pmg_pog, "pmg-ser30k": write_pmg_ser30k}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def films(tmp_path):
    """Eight people with 7 to 21 ratings of 30 films with commas in their titles; 26 posters."""
    folder, draw = tmp_path / "ml", np.random.default_rng(0)
    (folder / "posters").mkdir(parents=True)
    genres = ["(no genres listed)", "Drama|War", "War", "Comedy"]
    rows = [f'{m},"Film, ""The"" {m} (1999)",{genres[m % 4]}' for m in range(30)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *rows]))
    rated = [(u, m) for u in range(1, 9) for m in draw.permutation(30)[: 5 + 2 * u]]
    lines = [f"{u},{m},{draw.integers(1, 11) / 2},{draw.integers(100, 130)}" for u, m in rated]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]))
    for m in range(26):
        pixels = draw.integers(0, 255, (6 + m % 3, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "posters" / f"{m}.{'png' if m % 2 else 'jpg'}")
    return movielens.load(folder, sequence_length=5)


@pytest.fixture
def shop():
    return open_data("boutique", n_items=80, n_users=20)


def there_and_back(name, data, folder, **settings) -> Dataset:
    WRITERS[name](data, folder)
    return open_data(f"{name}:{folder}", **settings)


def pairs(data, rows=None):
    """{user: [(item, split), …]} oldest first; items by ``rows`` where they were renamed."""
    chosen = data.interactions
    order = np.lexsort((chosen.time, chosen.user))
    found: dict[str, list[tuple[int, str]]] = {}
    for user, item, split in zip(chosen.user[order], chosen.item[order], chosen.split[order], strict=True):
        found.setdefault(str(chosen.user_ids[user]), []).append((int(item), str(split)))
    return found


def persons(data):
    """{user: person}, of tails without an episode too."""
    return dict(zip(data.interactions.user_ids.tolist(), data.people.tolist(), strict=True))


def same_choices(a, b):
    assert pairs(a) == pairs(b)
    assert persons(a) == persons(b)
    assert {(e.id, e.source_user, e.history, e.reference) for e in a.episodes} == {
        (e.id, e.source_user, e.history, e.reference) for e in b.episodes
    }


def same_items(a, b, rows=None, *, titles=True, step=1):
    """Row k of ``a`` is row ``rows[k]`` of ``b``."""
    rows = np.arange(len(a.catalog)) if rows is None else rows
    assert len(a.catalog) == len(b.catalog)
    for column in ("titles", "captions", "categories") if titles else ("captions", "categories"):
        assert getattr(a.catalog, column).tolist() == getattr(b.catalog, column)[rows].tolist()
    here, there = a.catalog.images, b.catalog.images
    assert here.present.tolist() == there.present[rows].tolist()
    for row in np.flatnonzero(here.present)[::step]:
        assert here.read(row).tobytes() == there.read(rows[row]).tobytes()
        assert here.read(row).size == there.read(rows[row]).size


def test_films_as_movieposter(films, tmp_path):
    data = there_and_back("pmg-movieposter", films, tmp_path / "out")
    assert data.catalog.item_ids.tolist() == films.catalog.item_ids.tolist()
    same_items(films, data)
    same_choices(films, data)
    assert data.interactions.fingerprint == films.interactions.fingerprint  # times and ratings too
    assert data.episodes == films.episodes
    assert data.style_captions.tolist() == films.catalog.captions.tolist()


def test_a_folder_written_twice_stays_equal(films, tmp_path):
    first = there_and_back("pmg-movieposter", films, tmp_path / "a")
    first = replace(first, style_captions=np.char.add("style of ", first.catalog.titles))
    second = there_and_back("pmg-movieposter", first, tmp_path / "b")
    assert second.fingerprint == first.fingerprint
    assert second.style_captions.tolist() == first.style_captions.tolist()


def test_what_is_written_is_the_published_layout(films, tmp_path):
    write_pmg_movieposter(films, tmp_path / "out")
    names = ["image_data.pkl", "info.csv", "my_valid_data.txt", "ratings.csv"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *names, "style_captions.pkl", "target_captions.pkl"
    ]  # fmt: skip
    captions = pickle.loads((tmp_path / "out" / "target_captions.pkl").read_bytes())
    assert captions == {
        int(i): c for i, c in zip(films.catalog.item_ids, films.catalog.captions, strict=True)
    }
    assert {type(x) for pair in captions.items() for x in pair} == {int, str}
    images = pickle.loads((tmp_path / "out" / "image_data.pkl").read_bytes())
    assert len(images) == 26
    assert {(type(k), type(x), x.dtype.name, x.ndim) for k, x in images.items()} == {
        (int, np.ndarray, "uint8", 3)
    }
    header, *rows = csv.reader((tmp_path / "out" / "ratings.csv").open())
    assert header == ["userId", "movieId", "rating", "timestamp"]
    rated = {(int(u), m): (float(r), int(t)) for u, m, r, t in rows}
    assert len(rated) == 112
    text = (tmp_path / "out" / "my_valid_data.txt").read_text()
    assert not text.endswith("\n")
    for line, episode in zip(text.splitlines(), films.episodes, strict=True):
        history, _, target = line.partition(",")
        assert target == films.catalog.item_ids[episode.reference]
        scores = [rated[int(episode.source_user), item] for item in history.split(";")]
        assert scores == sorted(scores, reverse=True)  # rating, then timestamp, descending


def test_films_as_pog(films, tmp_path):
    data = there_and_back("pmg-pog", films, tmp_path / "out", sequence_length=5)
    assert data.catalog.item_ids.tolist() == films.catalog.item_ids.tolist()
    same_items(films, data)
    same_choices(films, data)
    assert (data.interactions.weight == 1).all()


def test_films_as_stickers(films, tmp_path):
    data = there_and_back("pmg-ser30k", films, tmp_path / "out", n_users=5)
    suffix = [".png" if int(m) % 2 or int(m) > 25 else ".jpg" for m in films.catalog.item_ids]
    columns = zip(films.catalog.categories, films.catalog.item_ids, suffix, strict=True)
    rows = np.array([data.catalog.row_of[f"{c}/{m}{s}"] for c, m, s in columns])
    same_items(films, data, rows, titles=False)


@pytest.mark.parametrize("name", ["pmg-movieposter", "pmg-pog"])
def test_whose_a_tail_is_stays_known(films, tmp_path, name):
    settings = {"sequence_length": 5} if name == "pmg-pog" else {}
    data = there_and_back(name, films, tmp_path / "out", **settings)
    assert {user: person for user, person in persons(data).items() if "/tail" in user} == {
        f"{u}/tail": str(u) for u in range(1, 9) if (5 + 2 * u) % 5
    }


@pytest.mark.parametrize("name", ["pmg-movieposter", "pmg-pog"])
def test_the_shop_in_layouts_with_people(shop, tmp_path, name):
    data = there_and_back(name, shop, tmp_path / "out")
    same_items(shop, data)
    same_choices(shop, data)
    assert find_leaks(data).known == 0


def test_the_shop_as_stickers(shop, tmp_path):
    data = there_and_back("pmg-ser30k", shop, tmp_path / "out")
    names = zip(shop.catalog.categories, shop.catalog.item_ids, strict=True)
    rows = np.array([data.catalog.row_of[f"{c}/{i}.png"] for c, i in names])
    same_items(shop, data, rows, titles=False)


def test_what_a_layout_has_no_place_for_is_told(shop, films, tmp_path):
    assert write_pmg_movieposter(shop, tmp_path / "a") == (
        "items are called 1 to 80: ids like 'i00000' have no place in this layout",
    )
    assert write_pmg_pog(shop, tmp_path / "b") == ()
    assert write_pmg_pog(films, tmp_path / "c") == ("times are places in a history", "weights are all 1")
    assert write_pmg_ser30k(shop, tmp_path / "d") == (
        "items are called <topic>/<file>",
        "titles are left out",
        "choices are left out: users of this layout are simulated",
    )


def test_equal_content_gives_an_equal_archive(shop, tmp_path):
    for name in ("a", "b"):
        write_pmg_pog(shop, tmp_path / name)
    first, second = (tmp_path / name / "images.tar.gz" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_names_that_lead_elsewhere_stay_in_the_folder(shop, tmp_path):
    ids, kinds = shop.catalog.item_ids.astype(object), shop.catalog.categories.astype(object)
    ids[:4] = ["../../x", "/etc/passwd", "a\\b:c", "..png"]
    kinds[:4] = ["..", "a/b", ".", "é ü"]
    catalog = replace(shop.catalog, item_ids=ids.astype(str), categories=kinds.astype(str))
    data = replace(shop, catalog=catalog)
    before = {p for p in tmp_path.rglob("*") if "cache" not in p.parts}
    read = there_and_back("pmg-ser30k", data, tmp_path / "out")
    written = {p for p in tmp_path.rglob("*") if "cache" not in p.parts} - before
    assert all(p == tmp_path / "out" or tmp_path / "out" in p.parents for p in written)
    assert len(read.catalog) == 80
    assert read.catalog.images.present.all()


@pytest.mark.parametrize("name", WRITERS)
def test_a_failed_writing_leaves_nothing(shop, tmp_path, name):
    class Broken:
        present, fingerprint = shop.catalog.images.present, "x"

        def read(self, row):
            if row == 5:
                raise OSError("disk on fire")
            return shop.catalog.images.read(row)

    data = replace(shop, catalog=replace(shop.catalog, images=Broken()))
    with pytest.raises(OSError, match="on fire"):
        WRITERS[name](data, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


def real(name):
    folder = REAL / name
    if not folder.is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    return folder


@pytest.mark.real
def test_the_real_films_as_movieposter(tmp_path):
    films = movielens.load(real("movielens"))
    data = there_and_back("pmg-movieposter", films, tmp_path / "out")
    same_items(films, data, step=50)
    assert data.interactions.fingerprint == films.interactions.fingerprint
    assert data.episodes == films.episodes
    assert len(data.episodes) == 4_769
    shutil.copy(real("pmg_movie_validation") / "my_valid_data.txt", tmp_path / "out")
    data = open_data(f"pmg-movieposter:{tmp_path / 'out'}")
    ids = data.catalog.item_ids
    assert [[*ids[list(e.history)], ids[e.reference]] for e in data.episodes] == [
        ["1", "239", "313", "551", "596", "695"],
        ["1", "239", "313", "551", "596", "1721"],
        ["6", "165", "259", "319", "377", "695"],
        ["6", "165", "259", "319", "377", "1721"],
        ["3", "25", "74", "179", "1380", "695"],
        ["3", "25", "74", "179", "1380", "1721"],
    ]
    assert (data.interactions.split == "valid").sum() == 4_769
    assert find_leaks(data).known == 0


@pytest.mark.real
def test_the_real_films_as_pog_and_stickers(tmp_path):
    films = movielens.load(real("movielens"))
    data = there_and_back("pmg-pog", films, tmp_path / "pog", sequence_length=20)
    same_items(films, data, step=50)
    same_choices(films, data)
    data = there_and_back("pmg-ser30k", films, tmp_path / "ser")
    here = zip(films.catalog.categories, films.catalog.item_ids, films.catalog.images.present, strict=True)
    rows = np.array([data.catalog.row_of[f"{c}/{m}.{'jpg' if has else 'png'}"] for c, m, has in here])
    same_items(films, data, rows, titles=False, step=50)


@pytest.fixture
def stickers(tmp_path):
    """The real stickers, read in the raw layout."""
    place = tmp_path / "ser30k" / "Annotations" / "image-level"
    with (real("stickers") / "stickers.csv").open(encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    place.mkdir(parents=True)
    entries = [
        {"topic": r["topic"], "file_name": r["file_name"], "anno": 1 + k % 7, "text": r["annotation"]}
        for k, r in enumerate(rows)
    ]
    (place / "train.json").write_text(json.dumps({"annotations": entries}))
    return ser30k.load(tmp_path / "ser30k", images=str(REAL / "stickers" / "stickers.tar"))


@pytest.mark.real
def test_the_real_stickers_in_every_layout(stickers, tmp_path):
    data = there_and_back("pmg-ser30k", stickers, tmp_path / "ser")
    assert (len(data.catalog), len(np.unique(data.catalog.categories))) == (6_228, 315)
    assert data.fingerprint == stickers.fingerprint  # items, pictures byte for byte, users and episodes
    for name in ("pmg-movieposter", "pmg-pog"):
        data = there_and_back(name, stickers, tmp_path / name)
        same_items(stickers, data, step=50)
        same_choices(stickers, data)
