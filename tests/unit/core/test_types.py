"""The shared types: validated when made, frozen, named by content."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Catalog, Dataset, Episode, ImageBatch, Interactions
from recsim_gen.testing import worlds

CATALOG, CHOSEN = worlds.noise()


def test_a_catalogue_refuses_what_does_not_fit():
    ids = ["a", "b", "c"]
    with pytest.raises(DataError, match="item_ids must be unique, got 'b' twice"):
        Catalog(["a", "b", "b"], ids, ids, ids)
    with pytest.raises(DataError, match=r"titles must have shape \(3,\), got \(2,\)"):
        Catalog(ids, ids[:2], ids, ids)
    with pytest.raises(DataError, match=r"features\['x'\] must be \(3, d\), got \(2, 4\)"):
        Catalog(ids, ids, ids, ids, None, {"x": np.ones((2, 4))})
    with pytest.raises(DataError, match="must be finite, got NaN or infinity"):
        Catalog(ids, ids, ids, ids, None, {"x": [[1.0], [np.inf], [0.0]]})


def test_replaced_features_make_another_catalogue():
    x = np.full((2, 7), 3.0)
    other = CATALOG.with_features("text", np.array([5, 1]), x)
    assert (other.features["text"][[1, 5]] == 3).all()
    untouched = np.delete(np.arange(40), [1, 5])
    assert np.array_equal(other.features["text"][untouched], CATALOG.features["text"][untouched])
    assert not (CATALOG.features["text"][[1, 5]] == 3).any()
    assert other.fingerprint != CATALOG.fingerprint
    back = other.with_features("text", np.array([5, 1]), CATALOG.features["text"][[5, 1]])
    assert back.fingerprint == CATALOG.fingerprint
    with pytest.raises(DataError, match=r"features must be \(2, 7\), got \(2, 6\).*another encoder"):
        CATALOG.with_features("text", np.array([5, 1]), x[:, :6])
    with pytest.raises(DataError, match=r"no features 'smell' to replace rows of; have \['image', 'text'\]"):
        CATALOG.with_features("smell", np.array([0]), x[:1])


def test_a_catalogue_says_what_made_its_features():
    x = CATALOG.features["text"]
    with pytest.raises(DataError, match=r"does not say which encoder made its text features.*encoder=NAME"):
        CATALOG.encoder_of("text")
    with pytest.raises(DataError, match=r"smell features are wanted, got features of \['image', 'text'\]"):
        CATALOG.encoder_of("smell")
    said = CATALOG.with_features("text", None, x, encoder="words")
    assert said.encoder_of("text") == "words"
    assert said.fingerprint == CATALOG.fingerprint  # the features are the same
    one = np.array([3])
    assert said.with_features("text", one, x[one]).encoder_of("text") == "words"
    assert said.with_features("text", one, x[one], encoder="words").encoder_of("text") == "words"
    told = "text features must be made by 'words', as the catalogue's, got some of 'minilm'"
    with pytest.raises(DataError, match=told):  # as wide as they should be, and yet others
        said.with_features("text", one, x[one], encoder="minilm")
    assert "text" not in said.with_features("text", None, x).encoders
    assert "text" not in CATALOG.encoders


def test_what_is_made_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        CATALOG.features["text"][0, 0] = 1
    with pytest.raises(TypeError):
        CATALOG.features["new"] = np.ones((40, 1))
    with pytest.raises(FrozenInstanceError):
        CATALOG.titles = np.array([])


def columns(**change):
    given = {
        "user": [0, 0, 1],
        "item": [0, 1, 1],
        "time": [0, 1, 2],
        "weight": [1, 1, 1],
        "split": ["train", "test", "train"],
        "user_ids": ["u", "v"],
        "n_items": 2,
    }
    return Interactions(**{**given, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": ["train", "tset", "train"]}, r"split must be one of .*got \['tset'\]"),
        ({"item": [0, 0, 1]}, r"a \(user, item\) pair stands more than once"),
        ({"item": [0, 2, 1]}, r"item rows must be in \[0, 2\), got 0…2"),
        ({"user": [0, -1, 1]}, r"user rows must be in \[0, 2\), got -1…1"),
        ({"time": [0, 1]}, r"time must be \(3,\), got \(2,\)"),
        ({"user": [], "item": [], "time": [], "weight": [], "split": []}, "at least one row"),
    ],
)
def test_interactions_refuse_what_does_not_fit(change, message):
    with pytest.raises(DataError, match=message):
        columns(**change)


def test_interactions_are_asked_by_split():
    chosen = columns()
    assert [a.tolist() for a in chosen.only("train")] == [[0, 1], [0, 1]]
    assert [a.tolist() for a in chosen.only("train", "test")] == [[0, 0, 1], [0, 1, 1]]
    assert (chosen.n_users, len(chosen)) == (2, 3)
    moved = chosen.with_split(np.array(["train", "valid", "train"]))
    assert moved.only("valid")[1].tolist() == [1]
    assert moved.fingerprint != chosen.fingerprint == columns().fingerprint
    for change in ({"time": [0, 1, 3]}, {"weight": [1, 2, 1]}, {"item": [1, 0, 1]}, {"user_ids": ["u", "w"]}):
        assert columns(**change).fingerprint != chosen.fingerprint


def test_an_episode_never_holds_its_answer():
    with pytest.raises(DataError, match=r"episode e: the reference \(row 3\) is in its history"):
        Episode("e", 0, "p", (1, 3), 3)
    with pytest.raises(DataError, match="episode e: history must have at least one item"):
        Episode("e", 0, "p", (), 3)


def test_a_data_set_is_named_by_all_it_holds():
    episode = Episode("e", 0, "p", (1, 2), 3)
    data = Dataset("d", CATALOG, CHOSEN, (episode,), {}, people=["p"] * CHOSEN.n_users)
    others = [
        replace(data, catalog=worlds.noise(seed=1)[0]),
        replace(data, interactions=worlds.noise(seed=1)[1]),
        replace(data, episodes=(replace(episode, history=(2, 1)),)),
        replace(data, episodes=()),
    ]
    assert len({d.fingerprint for d in [data, *others]}) == 5
    assert replace(data, notes=("said",)).fingerprint == data.fingerprint


def test_there_is_a_person_behind_each_user():
    data = Dataset("d", CATALOG, CHOSEN, (), {})
    assert data.people.tolist() == CHOSEN.user_ids.tolist()
    people = np.char.add("p", (np.arange(CHOSEN.n_users) // 2).astype(str))
    data = Dataset("d", CATALOG, CHOSEN, (Episode("e", 3, "p1", (1, 2), 3),), {}, people=people)
    assert replace(data, episodes=(), notes=("said",)).people.tolist() == people.tolist()
    with pytest.raises(DataError, match=r"people, one a user, must have shape \(30,\), got \(29,\)"):
        replace(data, people=people[1:])
    with pytest.raises(DataError, match=r"episode e: .* behind its user, 'u3', got 'p1'\. Give people"):
        Dataset("d", CATALOG, CHOSEN, data.episodes, {})


def test_images_are_rgb_in_range_one_row_each():
    rows = np.zeros(2, dtype=int)
    batch = ImageBatch(torch.rand(2, 3, 4, 5), rows, rows, rows, "g")
    assert batch.pixels.shape == (2, 3, 4, 5)
    for pixels, message in (
        (torch.rand(2, 1, 4, 4), r"must be \(B, 3, H, W\), got \(2, 1, 4, 4\)"),
        (torch.rand(2, 3, 4, 4) + 1, r"must be in \[0, 1\]"),
        (torch.full((2, 3, 4, 4), torch.nan), r"must be in \[0, 1\], got \[nan"),
        (torch.rand(3, 3, 4, 4), "episode must have 3 rows, got 2"),
    ):
        with pytest.raises(DataError, match=message):
            ImageBatch(pixels, rows, rows, rows, "g")
