"""PMG-Bench's film posters: captions, pictures, published episodes, and what is wrong with a folder."""

import os
import pickle

import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.pmg_bench.movieposter import load

PUBLISHED = "Fetch the file as published, or correct that entry"
FILMS = range(1, 13)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(film):
    return np.full((6, 4, 3), film, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two people who rated films 1 to 11 and 1 to 7, later ones first; film 12 has nothing."""
    path = tmp_path / "movieposter"
    path.mkdir()
    info = [f'{m},"Film, The {m} (1999)",Action|Sci-Fi' for m in FILMS]
    (path / "info.csv").write_text("\n".join(["id,name,genre", *info]))
    rated = [(u, m) for u, n in ((1, 11), (2, 7)) for m in range(1, n + 1)]
    ratings = [f"{u},{m},{1 + m % 5}.0,{1000 - m}" for u, m in rated]
    (path / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings]))
    dump(path / "target_captions.pkl", {m: f"poster {m}" for m in range(1, 11)} | {11: ["a ship", " fog "]})
    dump(path / "style_captions.pkl", {m: ["red", "dark"] for m in FILMS})
    dump(path / "image_data.pkl", {m: picture(m) for m in (*range(1, 12), 99)})
    return path


def dump(file, value):
    file.write_bytes(pickle.dumps(value))


def validate(folder, text):
    (folder / "my_valid_data.txt").write_text(text)


def refusal(folder, cache, **settings):
    with pytest.raises(DataError) as caught:
        load(folder, **settings)
    assert not list(cache.rglob("*.npy"))
    return str(caught.value).replace(f"{folder}/", "")


def ids(data, rows):
    return [int(data.catalog.item_ids[row]) for row in rows]


def test_films_captions_and_posters(folder):
    data = load(folder, sequence_length=5)
    catalog = data.catalog
    assert catalog.titles[0] == "Film, The 1 (1999)"
    assert catalog.categories[0] == "Action"
    assert catalog.captions[[0, 10, 11]].tolist() == [
        "poster 1",
        "a ship, fog",
        "Film, The 12 (1999): a film of action and sci-fi",
    ]
    assert data.style_captions.tolist() == ["red, dark"] * 12
    assert catalog.images.present.tolist() == [True] * 11 + [False]
    assert catalog.images.read(4).size == (4, 6)
    assert catalog.images.read(4).getpixel((0, 0)) == (5, 5, 5)
    assert data.notes == (
        "18 ratings by 2 people of 11 of 12 films",
        "3 sequences of 5 by floor rule, oldest first: one episode each",
        "3 choices of 2 people left over: kept as shorter users, all train, no episode",
        "1 films without picture: mean image feature, flagged as absent",
        "1 posters not used: info.csv lists no such film",
        "1 of 12 items without caption: other words stand for it",
    )


def test_a_reader_sent_to_a_worker_opens_the_file_there(folder):
    images = load(folder, sequence_length=5).catalog.images
    sent = pickle.dumps(images)
    assert len(sent) < 1_000
    assert pickle.loads(sent).read(4).tobytes() == images.read(4).tobytes()


def test_a_changed_pixel_changes_the_fingerprint(folder):
    before = load(folder, sequence_length=5).catalog.images.fingerprint
    changed = picture(3).copy()
    changed[0, 0, 0] += 1
    dump(folder / "image_data.pkl", {m: picture(m) for m in (*range(1, 12), 99)} | {3: changed})
    os.utime(folder / "image_data.pkl", ns=(1, 1))
    assert load(folder, sequence_length=5).catalog.images.fingerprint != before


def test_by_time_the_oldest_comes_first_and_by_rating_the_best_last(folder):
    by_time = load(folder, sequence_length=None)
    assert ids(by_time, by_time.episodes[0].history) == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    by_rating = load(folder, sequence_length=None, order="rating")
    first = by_rating.episodes[0]
    listed = [first.reference, *first.history[::-1]]  # PMG-Bench: rating, then timestamp, descending
    assert ids(by_rating, listed) == [4, 9, 3, 8, 2, 7, 1, 6, 11, 5, 10]


def test_published_lines_are_the_episodes(folder):
    validate(folder, "12;1;5,9\n\n12;1;5,8\n10;11;12,3")  # no line end
    data = load(folder, sequence_length=5)
    assert [e.id for e in data.episodes] == ["validation/0#0", "validation/0#1", "validation/1#0"]
    assert ids(data, data.episodes[0].history) == [12, 1, 5]  # as listed
    assert [ids(data, [e.reference])[0] for e in data.episodes] == [9, 8, 3]
    chosen = data.interactions
    assert (chosen.split == "test").sum() == 3
    assert (chosen.split == "valid").sum() == 3  # of the three sequences: something is selected on
    assert len(chosen) == 18 + 4 + 1 + 4
    assert (
        "episodes are the 3 lines of my_valid_data.txt: 0 of the sequences, 3 of histories of their own; "
        "other sequences are all learned from" in data.notes
    )
    assert len(load(folder, sequence_length=5, episodes="sequences").episodes) == 3


def test_a_line_that_is_a_sequence_is_that_sequence(folder):
    validate(folder, "8;9;10;11,7\r\n")  # person 1's first five, listed in another order
    for length in (5, "published"):
        data = load(folder, sequence_length=length)
        (episode,) = data.episodes
        assert (episode.id, episode.source_user) == ("1/0#0", "1")
        assert ids(data, episode.history) == [11, 10, 9, 8]
        chosen = data.interactions
        assert len(chosen) == 18
        assert (chosen.split == "test").sum() == (chosen.split == "valid").sum() == 1


def test_lines_of_whole_histories_are_recognised(folder):
    validate(folder, "11;10;9;8;7;6;5;4;3;2,1\n7;6;5;4;3;2,1")
    data = load(folder)
    assert [e.id for e in data.episodes] == ["1#0", "2#0"]


def test_equal_lines_are_two_people_who_chose_the_same(folder):
    ratings = (folder / "ratings.csv").read_text()
    twins = [line.replace("2,", "3,", 1) for line in ratings.splitlines() if line.startswith("2,")]
    (folder / "ratings.csv").write_text("\n".join([ratings, *twins]))
    validate(folder, "7;6;5;4;3;2,1\n" * 3 + "12;1;5,9\n5;1;12,9")
    data = load(folder, sequence_length=None)
    assert [e.id for e in data.episodes] == ["2#0", "3#0", "validation/0#0"]
    assert "2 of these lines stand again and count once" in data.notes


def test_who_could_be_behind_a_line_does_not_give_its_target_away(folder):
    validate(folder, "1;2;10,11\n")
    data = load(folder, sequence_length=5)
    chosen = data.interactions
    target = data.catalog.row_of["11"]
    assert chosen.split[chosen.item == target].tolist() == ["test"]  # person 1's own rating is gone
    assert "1 ratings left out: of the target of such a line, by who rated all its films" in data.notes
    validate(folder, "1;2;12,11\n")  # nobody rated film 12
    chosen = load(folder, sequence_length=5).interactions
    assert sorted(chosen.split[chosen.item == target]) == ["test", "train"]


def test_a_folder_without_pictures_and_captions_is_text(folder):
    for name in ("image_data.pkl", "target_captions.pkl", "style_captions.pkl"):
        (folder / name).unlink()
    data = load(folder, sequence_length=5)
    assert data.encoders == {"text": "minilm"}
    assert data.catalog.images is None
    assert data.notes[-3:] == (
        "no image_data.pkl: text only",
        "no target_captions.pkl",
        "no style_captions.pkl",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1;2;3", "a history and a target are wanted, got '1;2;3'. Write id;id;…,target"),
        ("1;2,3,4", "a history and a target are wanted, got '1;2,3,4'. Write id;id;…,target"),
        ("1;;2,3", "a history and a target are wanted, got '1;;2,3'. Write id;id;…,target"),
        (",3", "a history and a target are wanted, got ',3'. Write id;id;…,target"),
        ("1;77,3", "'77' is not in info.csv. Add it to info.csv, or remove the line"),
        ("1;2,88", "'88' is not in info.csv. Add it to info.csv, or remove the line"),
        ("1;2;1,3", "an item stands twice in the history. Keep one of the two"),
        ("1;2;3,3", "the target '3' is in its own history. Take it out of the history"),
    ],
)
def test_a_bad_line_is_one_error(folder, cache, line, expected):
    validate(folder, f"4;5,6\n{line}\n1;2,3")
    assert refusal(folder, cache) == f"my_valid_data.txt, row 2: {expected}"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("target_captions.pkl", ["a"], "a dict of item ids is wanted, got list"),
        ("target_captions.pkl", {1.5: "a"}, "keys must be item ids (whole numbers or text), got float"),
        ("target_captions.pkl", {None: "a"}, "keys must be item ids (whole numbers or text), got NoneType"),
        ("target_captions.pkl", {True: "a"}, "keys must be item ids (whole numbers or text), got bool"),
        ("style_captions.pkl", {7: 3}, "row item 7: a caption must be text or a list of texts, got int"),
        ("style_captions.pkl", {7: ["a", 3]}, "row item 7: a caption must be text or a list of texts"),
        ("style_captions.pkl", {7: "x" * 10_001}, "row item 7: a caption must have at most 10,000"),
        ("style_captions.pkl", {7: "a\0b"}, "row item 7: a caption must be text, got the character 0"),
        ("image_data.pkl", {7: np.zeros((4, 4), np.uint8)}, "got uint8 (4, 4)"),
        ("image_data.pkl", {7: np.zeros((4, 4, 3))}, "got float64 (4, 4, 3)"),
        ("image_data.pkl", {7: np.zeros((0, 4, 3), np.uint8)}, "got uint8 (0, 4, 3)"),
        ("image_data.pkl", {7: "x"}, "row item 7: a picture must be uint8 (H, W, 3)"),
        ("image_data.pkl", {77: picture(1)}, "no picture is of a film of info.csv"),
    ],
)  # fmt: skip
def test_a_pickle_of_something_else(folder, cache, name, value, expected):
    dump(folder / name, value)
    message = refusal(folder, cache, sequence_length=5)
    assert message.startswith(name)
    assert expected in message


def test_a_caption_of_shared_words_is_not_joined(folder, cache):
    words = ["x" * 9_999] * 200_000  # two thousand million characters in some hundred thousand bytes
    dump(folder / "style_captions.pkl", {7: words})
    assert "at most 10,000 characters" in refusal(folder, cache, sequence_length=5)


class Runs:
    def __reduce__(self):
        return os.system, ("touch run",)


@pytest.mark.parametrize("name", ["target_captions.pkl", "style_captions.pkl", "image_data.pkl"])
def test_a_hostile_pickle_is_refused_and_nothing_is_run(folder, cache, name, apart):
    dump(folder / name, {1: Runs()})
    message = refusal(folder, cache, sequence_length=5)
    assert message.startswith(f"{name}: must be a pickle of plain values and arrays, got one that asks for")
    assert list(apart.iterdir()) == []


@pytest.mark.parametrize("name", ["info.csv", "ratings.csv"])
def test_a_missing_table(folder, cache, name):
    (folder / name).unlink()
    assert refusal(folder, cache) == (
        f"{name}: cannot be opened (No such file or directory). Does {folder} hold the data as published?"
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"order": "fame"}, "order must be one of time, rating, got 'fame'"),
        ({"episodes": "all"}, "episodes must be one of published, sequences, got 'all'"),
        ({"sequence_length": 2}, "sequence_length must be 3 or more (train, valid, test), got 2"),
    ],
)
def test_settings_out_of_range(folder, setting, message):
    with pytest.raises(SettingError) as caught:
        load(folder, **setting)
    assert str(caught.value) == message
