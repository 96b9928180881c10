"""Data as people have it: what would be read as other data is read right, told, or refused."""

import io
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.checks import examine
from recsim_gen.datasets.files.images import list_members
from recsim_gen.datasets.opening import open_data

FILMS = 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def movielens(folder, time=lambda user, k: 1_000_000_000 + 86400 * k + user, people=8):
    """People with six of the films each, their numbers falling with time."""
    folder.mkdir(parents=True)
    films = [f"{m},Film {m},Drama" for m in range(1, FILMS + 1)]
    rated = [f"{u},{1 + (5 * u - k) % FILMS},4.0,{time(u, k)}" for u in range(people) for k in range(6)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n")
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rated]) + "\n")
    return folder


def opened(folder):
    return open_data(f"movielens:{folder}", sequence_length=6)


def encoded(shade, kind="PNG"):
    data = io.BytesIO()
    Image.new("RGB", (4, 6), (shade, 0, 0)).save(data, kind)
    return data.getvalue()


def tar_of(films):
    """A tar of posters as bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for film in films:
            data = encoded(film)
            entry = tarfile.TarInfo(f"{film}.png")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def test_tars_joined_by_cat_give_all_posters(tmp_path):
    folder = movielens(tmp_path / "ml")
    (folder / "posters.tar").write_bytes(tar_of(range(1, 21)) + tar_of(range(21, 41)))
    images = opened(folder).catalog.images
    assert images.present.all()
    assert [images.read(row).getpixel((0, 0))[0] for row in range(FILMS)] == list(range(1, 41))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=3, unique=True), min_size=1, max_size=4),
    st.sampled_from([b"", b"\0" * 512, b"\0" * 5000]),
)
def test_every_part_of_joined_tars_is_listed(tmp_path_factory, parts, between):
    path = tmp_path_factory.mktemp("t") / "joined.tar"
    path.write_bytes(between.join(tar_of(part) for part in parts) + between)
    if len(between) % 512 and sum(map(bool, parts[1:])):
        with pytest.raises(DataError):
            list_members(path)
        return
    listed = list_members(path)
    assert [int(member.stem) for member in listed] == [film for part in parts for film in part]
    assert all(member.read() == encoded(int(member.stem)) for member in listed)


@pytest.mark.parametrize("rest", [b"x", b"\0" * 700 + b"rest of a download", os.urandom(5000)])
def test_a_tar_with_something_else_behind_it_is_refused(tmp_path, rest):
    (tmp_path / "a.tar").write_bytes(tar_of([1, 2]) + rest)
    with pytest.raises(DataError, match=r"a\.tar"):
        list_members(tmp_path / "a.tar")


def test_pictures_painted_anew_with_their_old_times_are_seen(tmp_path):
    folder = movielens(tmp_path / "ml")
    (folder / "posters").mkdir()

    def paint(change):
        for film in range(1, FILMS + 1):
            place = folder / "posters" / f"{film}.bmp"
            Image.new("RGB", (4, 6), (film, change, 0)).save(place)
            os.utime(place, ns=(10**18, 10**18))
        return opened(folder).fingerprint

    first, again, back = paint(0), paint(1), paint(0)
    assert first == back != again


def test_a_tar_replaced_with_its_old_time_is_seen(tmp_path):
    folder = movielens(tmp_path / "ml")
    prints = []
    for films in ([1], [2]):
        place = folder / "posters.tar"
        place.write_bytes(tar_of(films))
        os.utime(place, ns=(10**18, 10**18))
        prints.append(opened(folder).fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize("name", ["posters.zip", "posters.tar.gz", "images.tar", "Posters.7z"])
def test_a_store_of_pictures_that_is_not_read_is_told(tmp_path, name):
    folder = movielens(tmp_path / "ml")
    assert not any("beside it" in note for note in opened(folder).notes)
    (folder / name).write_bytes(b"PK")
    (told,) = [note for note in opened(folder).notes if "beside it" in note]
    assert told.startswith(
        "no pictures: looked for posters_128.tar, posters.tar, posters; beside it, not read: "
    )
    assert name in told


def test_jfif_is_read_and_other_kinds_are_counted(tmp_path):
    folder = movielens(tmp_path / "ml")
    (folder / "posters").mkdir()
    (folder / "posters" / "1.jfif").write_bytes(encoded(9, "JPEG"))
    Image.new("RGB", (4, 4)).save(folder / "posters" / "2.tiff")
    (folder / "posters" / "3.HEIC").write_bytes(b"x")
    data = opened(folder)
    assert data.catalog.item_ids[data.catalog.images.present].tolist() == ["1"]
    assert "posters: 2 pictures left aside: .heic, .tiff is not read, save them as JPEG or PNG" in data.notes


def said_of_times(folder, time):
    return [note for note in opened(movielens(folder, time)).notes if "time" in note]


def test_times_that_tell_no_order_are_told(tmp_path):
    assert said_of_times(tmp_path / "good", lambda user, k: 1_600_000_000 + k) == []
    (told,) = said_of_times(tmp_path / "zero", lambda user, k: 0)
    assert told == (
        "8 of 8 people have one time for all their choices, and 40 of 40 choices have the time of the "
        "person's choice before: the order among them, and so what is asked for, is that of item ids or rows"
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([1, 10**3, 10**6, 10**9]), min_size=6, max_size=6))
def test_times_in_several_units_are_told(tmp_path_factory, units):
    folder = tmp_path_factory.mktemp("ml") / "ml"
    said = said_of_times(folder, lambda user, k: (1_600_000_000 + k) * units[k])
    assert any(note.startswith("times look mixed: ") for note in said) == (len(set(units)) > 1)


@pytest.mark.recbole
def test_published_films_of_recbole_say_nothing_of_times():
    data = open_data("ml-100k")
    assert not any("times" in note or "time of" in note for note in data.notes)
    assert len(np.unique(data.people)) == 943


def test_the_row_of_an_unknown_id_is_told_behind_a_history_of_any_length(tmp_path):
    ids = [f"{k:030x}" for k in range(5000)]  # of one person: more letters than Python's csv takes by default
    people = [("u1", ";".join(ids)), ("u2", ";".join(ids[:6])), ("u3", f"{ids[0]};gone;{ids[2]}")]
    tables = {
        "item_data.csv": ["item_id,cate_id,title,desc", *(f"{i},1,skirt," for i in ids)],
        "outfit_data.csv": ["outfit_id,item_ids", f"o1,{ids[0]}"],
        "user_data.csv": ["user_id,item_history,outfit_history", *(f"{u},{items},o1" for u, items in people)],
    }
    for name, rows in tables.items():
        (tmp_path / name).write_text("\n".join([*rows, ""]))
    with pytest.raises(
        DataError, match=r"user_data\.csv, row 4: item_history 'gone' is not in item_data\.csv"
    ):
        open_data(f"pmg-pog:{tmp_path}")


def test_people_who_chose_every_item_are_told():
    data = open_data("boutique", n_items=80, n_users=12)
    assert not any("every item" in remark for remark in examine(data).remarks)
    chosen, n = data.interactions, len(data.catalog)
    everything = replace(
        chosen,
        user=np.r_[chosen.user[chosen.user != 0], np.zeros(n, int)],
        item=np.r_[chosen.item[chosen.user != 0], np.arange(n)],
        time=np.r_[chosen.time[chosen.user != 0], np.arange(n)],
        weight=np.r_[chosen.weight[chosen.user != 0], np.ones(n)],
        split=np.r_[chosen.split[chosen.user != 0], ["train"] * n],
    )
    told = "1 users chose every item: rankers that learn by comparing leave them out"
    assert told in examine(replace(data, interactions=everything, episodes=data.episodes[1:])).remarks
