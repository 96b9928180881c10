"""MovieLens: the sequence rule, what is counted, and each way in which the files can be bad."""

import tarfile

import numpy as np
import pytest
from PIL import Image
from real_data import REAL

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import SPLITS
from recsim_gen.datasets.movielens import load

PUBLISHED = "Fetch the file as published, or correct that row"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """Three people with 11, 10 and 4 ratings of 12 films; times fall as film numbers rise."""
    films = [f'{m},"Matrix, The {m} (1999)",Action|Sci-Fi' for m in range(1, 12)]
    rated = [(u, m) for u, n in ((1, 11), (2, 10), (10, 4)) for m in range(1, n + 1)]
    path = tmp_path / "ml"
    write(path / "movies.csv", "movieId,title,genres", [*films, "12,Nothing,(no genres listed)"])
    lines = [f"{u},{m},{1 + m % 5}.0,{1000 - m}" for u, m in rated]
    write(path / "ratings.csv", "userId,movieId,rating,timestamp", lines)
    return path


def write(file, header, lines):
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([header, *lines]) + "\n")


def change(file, row, text):
    """Replace a line (1-based) of a file."""
    lines = file.read_text().splitlines()
    lines[row - 1] = text
    write(file, lines[0], lines[1:])


def refusal(folder, cache, **settings):
    """The message less the folder; nothing may be left in the cache."""
    with pytest.raises(DataError) as caught:
        load(folder, **settings)
    assert not cache.exists()
    return str(caught.value).replace(f"{folder}/", "")


def test_people_are_cut_oldest_first_and_the_rest_is_learned_from(folder):
    data = load(folder, sequence_length=5)
    chosen = data.interactions
    assert chosen.user_ids.tolist() == ["1/0", "1/1", "1/tail", "2/0", "2/1", "10/tail"]
    films = {
        name: data.catalog.item_ids[chosen.item[chosen.user == u]].tolist()
        for u, name in enumerate(chosen.user_ids.tolist())
    }
    assert films["1/0"] == ["11", "10", "9", "8", "7"]
    assert films["1/tail"] == ["1"]
    assert films["10/tail"] == ["4", "3", "2", "1"]
    for user, name in enumerate(chosen.user_ids.tolist()):
        expected = ["train"] * 4 if name == "10/tail" else ["train"] * 3 + ["valid", "test"]
        assert chosen.split[chosen.user == user].tolist() == (["train"] if name == "1/tail" else expected)
    assert [(e.id, e.source_user, e.reference) for e in data.episodes] == [
        ("1/0#0", "1", 6),
        ("1/1#0", "1", 1),
        ("2/0#0", "2", 5),
        ("2/1#0", "2", 0),
    ]
    assert len(chosen) == 25


def test_equal_times_are_ordered_by_film_and_the_order_of_lines_does_not_matter(folder):
    lines = (folder / "ratings.csv").read_text().splitlines()
    level = [line.rpartition(",")[0] + ",7" for line in lines[1:]]
    write(folder / "ratings.csv", lines[0], level)
    data = load(folder, sequence_length=5)
    assert data.episodes[0].history == (0, 1, 2, 3)
    assert data.episodes[0].reference == 4
    write(folder / "ratings.csv", lines[0], [level[k] for k in np.random.default_rng(0).permutation(25)])
    assert load(folder, sequence_length=5).fingerprint == data.fingerprint


def test_a_tail_can_be_left_out_and_is_counted(folder):
    data = load(folder, sequence_length=5, tail="drop")
    assert len(data.interactions) == 20
    assert "5 choices of 2 people left over: left out (tail=drop)" in data.notes


def test_ratings_below_the_least_are_counted(folder):
    data = load(folder, sequence_length=3, min_rating=4)
    assert data.interactions.weight.min() == 4
    assert "15 ratings below 4 left out (min_rating)" in data.notes


def test_films_are_told_in_words(folder):
    catalog = load(folder, sequence_length=5).catalog
    assert catalog.titles[0] == "Matrix, The 1 (1999)"
    assert catalog.captions[-1] == "Nothing"
    assert catalog.categories[[0, -1]].tolist() == ["Action", "no genre"]
    change(folder / "movies.csv", 2, '1,"Matrix, The (1999)",Action|Sci-Fi')
    assert (
        load(folder, sequence_length=5).catalog.captions[0]
        == "The Matrix (1999): a film of action and sci-fi"
    )


def test_posters_missing_and_superfluous_are_counted(folder):
    (folder / "posters").mkdir()
    for m in (*range(2, 12), 99):
        Image.new("RGB", (4, 6)).save(folder / "posters" / f"{m}.jpg")
    data = load(folder, sequence_length=5)
    assert data.encoders == {"image": "efficientnet-lite0", "text": "minilm"}
    assert data.catalog.images.present.tolist() == [False] + [True] * 10 + [False]
    assert data.notes == (
        "25 ratings by 3 people; 11 of 12 films rated, 1 without a rating",
        "4 sequences of 5 by floor rule, oldest first: one episode each",
        "5 choices of 2 people left over: kept as shorter users, all train, no episode",
        "2 films without poster (3 ratings): mean image feature, flagged as absent",
        "1 posters not used: movies.csv lists no such film",
    )
    assert load(folder, sequence_length=5, posters="none").catalog.images is None


def test_without_posters_text_alone(folder):
    assert load(folder, sequence_length=5).encoders == {"text": "minilm"}


@pytest.mark.parametrize(
    ("file", "row", "line", "expected"),
    [
        ("ratings.csv", 1, "userId,movie,rating,timestamp",
         "ratings.csv, row 1: columns userId, movieId, rating, timestamp are wanted, 'movieId' is missing; "
         "got userId, movie, rating, timestamp. Correct the header line. Did you mean 'movie'?"),
        ("ratings.csv", 5, "1,4,NaN,996",
         f"ratings.csv, row 5: rating must be a finite number, got 'NaN'. {PUBLISHED}"),
        ("ratings.csv", 6, "1,2,3.0,5",
         "ratings.csv, row 6: (userId, movieId) = ('1', '2') stands a second time; first in row 3. "
         "Keep one of the two rows"),
        ("ratings.csv", 7, "1,444,3.0,5",
         "ratings.csv, row 7: movieId '444' is not in movies.csv. "
         "Add it to movies.csv, or remove its rows here"),
        ("ratings.csv", 8, ",7,3.0,5",
         f"ratings.csv, row 8: userId must be an id, got an empty one. {PUBLISHED}"),
        ("ratings.csv", 9, "1,8,3.0,yesterday",
         f"ratings.csv, row 9: timestamp must be a finite number, got 'yesterday'. {PUBLISHED}"),
        ("movies.csv", 4, "2,Again (1999),Drama",
         "movies.csv, row 4: (movieId) = ('2') stands a second time; first in row 3. "
         "Keep one of the two rows"),
        ("movies.csv", 4, "3,Comma, No Quotes (1999),Drama",
         "movies.csv, row 4: 3 fields are wanted, as in the header, got 4. "
         "Put text that holds ',' in quotes"),
    ],
)  # fmt: skip
def test_a_bad_row_is_one_error(folder, cache, file, row, line, expected):
    change(folder / file, row, line)
    assert refusal(folder, cache, sequence_length=5) == expected


def test_a_missing_file(folder, cache):
    (folder / "movies.csv").unlink()
    assert refusal(folder, cache) == (
        f"movies.csv: cannot be opened (No such file or directory). Does {folder} hold the data as published?"
    )


def test_a_posters_tar_cut_in_half(folder, cache, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    with tarfile.open(folder / "posters.tar", "w") as archive:
        for m in range(1, 13):
            Image.fromarray(pixels).save(tmp_path / f"{m}.png")
            archive.add(tmp_path / f"{m}.png", f"posters/{m}.png")
    load(folder, sequence_length=5)
    whole = (folder / "posters.tar").read_bytes()
    (folder / "posters.tar").write_bytes(whole[: len(whole) // 2])
    message = refusal(folder, cache, sequence_length=5)
    assert message.startswith("posters.tar: the archive is cut off")
    assert message.endswith("Fetch the archive again")


def test_nobody_with_a_whole_sequence(folder, cache):
    assert refusal(folder, cache) == (
        "no user has the 20 choices that make a sequence; the longest history has 11. Lower sequence_length"
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sequence_length": 2}, "sequence_length must be 3 or more (train, valid, test), got 2"),
        ({"tail": "valid"}, "tail must be one of train, drop, got 'valid'"),
    ],
)
def test_settings_out_of_range(folder, setting, message):
    with pytest.raises(SettingError) as caught:
        load(folder, **setting)
    assert str(caught.value) == message


@pytest.mark.real
def test_the_published_numbers(cache):
    folder = REAL / "movielens"
    if not folder.is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    data = load(folder)
    chosen = data.interactions
    assert (len(chosen), len(data.catalog), len(data.episodes)) == (100_836, 9_742, 4_769)
    assert len({name.partition("/")[0] for name in chosen.user_ids.tolist()}) == 610
    assert [(chosen.split == s).sum() for s in SPLITS] == [100_836 - 2 * 4_769, 4_769, 4_769]
    assert data.notes == (
        "100,836 ratings by 610 people; 9,724 of 9,742 films rated, 18 without a rating",
        "4,769 sequences of 20 by floor rule, oldest first: one episode each",
        "5,456 choices of 567 people left over: kept as shorter users, all train, no episode",
        "225 films without poster (507 ratings): mean image feature, flagged as absent",
    )
    present = data.catalog.images.present
    assert (present.sum(), (~present).sum(), (~present)[chosen.item].sum()) == (9_517, 225, 507)
    assert {len(e.history) for e in data.episodes} == {19}
    assert data.catalog.images.read(0).size == (87, 128)
