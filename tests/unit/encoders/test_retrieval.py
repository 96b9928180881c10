"""Retrieval (Eq. 3–5) by hand: order, ties, short histories, weights, the wrong reference."""

import numpy as np
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Episode
from recsim_gen.encoders import retrieval
from recsim_gen.encoders.retrieval import other_references, preference, retrieve, weights


def episode(name: str, history: tuple[int, ...], reference: int) -> Episode:
    return Episode(name, 0, name, history, reference)


ANGLES = np.radians([0, 10, 60, 90, 170, 60])
TEXT = (np.array([3, 1, 2, 1, 5, 7])[:, None] * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)).astype(
    np.float32
)


def test_cosine_with_the_reference_orders_the_history():
    found = retrieve([episode("a", (3, 1, 4, 2), 0)], TEXT)
    assert found.items.tolist() == [[1, 2, 3, 4]]
    assert found.similarity[0] == pytest.approx(np.cos(np.radians([10, 60, 90, 170])), abs=1e-6)
    assert found.between(0, 2)[0].tolist() == [1, 2]
    assert found.between(2, 4)[0].tolist() == [3, 4]


def test_of_equal_similarity_the_later_comes_first():
    text = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 1]], dtype=np.float32)
    for history in ((1, 2, 4, 3), (3, 4, 2, 1), (4, 2, 1, 3)):
        found = retrieve([episode("a", history, 0)], text).items[0].tolist()
        assert found == [4, *[i for i in reversed(history) if i != 4]]


def test_short_histories_give_what_they_have():
    found = retrieve([episode("a", (1,), 0), episode("b", (1, 2, 3), 0)], TEXT)
    assert found.items.tolist() == [[1, -1, -1], [1, 2, 3]]
    assert (found.similarity[0, 1:] == -np.inf).all()
    assert [len(h) for h in found.between(0, 5)] == [1, 3]
    assert [len(h) for h in found.between(1, 3)] == [0, 2]
    assert [len(h) for h in found.between(7, 9)] == [0, 0]


def test_a_batch_is_its_episodes_in_any_block(monkeypatch):
    draw = np.random.default_rng(0)
    text = draw.standard_normal((50, 6)).astype(np.float32)
    episodes = []
    for b in range(20):
        *history, reference = draw.permutation(50)[: draw.integers(2, 12)].tolist()
        episodes.append(episode(str(b), tuple(history), reference))
    whole = retrieve(episodes, text)
    monkeypatch.setattr(retrieval, "SIMILARITIES_HELD", 1)
    again = retrieve(episodes, text)
    assert np.array_equal(whole.items, again.items)
    assert np.array_equal(whole.similarity, again.similarity)
    for b, e in enumerate(episodes):
        alone = retrieve([e], text)
        assert alone.items[0].tolist() == whole.items[b, : whole.length[b]].tolist()
        assert sorted(alone.items[0].tolist()) == sorted(e.history)


def test_an_item_without_words_is_similar_to_nothing():
    text = np.array([[1, 0], [0, 0], [-1, 0], [1, 1]], dtype=np.float32)
    found = retrieve([episode("a", (1, 2, 3), 0)], text)
    assert found.items.tolist() == [[3, 1, 2]]
    assert found.similarity[0] == pytest.approx([np.sqrt(0.5), 0, -1])


def test_clamped_weights_by_hand():
    s = np.array([[0.6, 0.2, -0.5], [-0.1, -0.2, -np.inf]])
    assert weights(s, 2).tolist() == [pytest.approx([0.75, 0.25]), [0.5, 0.5]]
    assert weights(s, 3)[0] == pytest.approx([0.75, 0.25, 0])
    assert weights(s, 3)[1] == pytest.approx([0.5, 0.5, 0])  # nothing positive: equal, the missing place none
    assert weights(s, 99).shape == (2, 3)


def test_softmax_weights_by_hand():
    s = np.array([[0.6, 0.2, -np.inf]])
    e = np.exp(np.array([0.6, 0.2]) / 0.1)
    assert weights(s, 3, rule="softmax")[0] == pytest.approx([*(e / e.sum()), 0])
    assert weights(s, 3, rule="softmax", temperature=1e6)[0] == pytest.approx([0.5, 0.5, 0], abs=1e-6)
    assert weights(s, 1, rule="softmax").tolist() == [[1]]


def test_the_preference_is_the_weighted_mean_of_what_is_seen():
    visual = np.arange(12.0).reshape(6, 2)
    found = retrieve([episode("a", (3, 1), 0), episode("b", (2,), 0)], TEXT)
    s = weights(found.similarity, 2)
    p = preference(visual, found.items, s)
    assert p[0] == pytest.approx(s[0, 0] * visual[1] + s[0, 1] * visual[3])
    assert p[1] == pytest.approx(visual[2])  # the missing place adds nothing


def test_weights_of_nothing_are_told():
    with pytest.raises(SettingError, match="k must be at least 1"):
        weights(np.ones((1, 2)), 0)
    with pytest.raises(DataError, match="every history must have an item"):
        weights(np.array([[0.5], [-np.inf]]), 1)


def test_the_wrong_reference_is_another_episodes_and_not_known_to_the_user():
    draw = np.random.default_rng(0)
    episodes = []
    for b in range(200):
        *history, reference = draw.permutation(30)[:12].tolist()
        episodes.append(episode(str(b), tuple(history), reference))
    for seed in range(3):
        wrong = other_references(episodes, Rng(seed).numpy())
        for e, w in zip(episodes, wrong.tolist(), strict=True):
            assert w not in e.history
            assert w != e.reference
        assert set(wrong.tolist()) <= {e.reference for e in episodes}
        assert len(set(wrong.tolist())) > 20
    assert (other_references(episodes, Rng(0).numpy()) == other_references(episodes, Rng(0).numpy())).all()
    with pytest.raises(DataError, match="episode a: no reference of another episode"):
        other_references([episode("a", (1,), 0), episode("b", (2,), 0)], Rng(0).numpy())
