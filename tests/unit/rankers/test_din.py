"""The attention over histories: what it sees in training, what it can say, and how sure it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rankers.din import DINRanker
from rankers.target_attention import TargetAttention
from rankers.taste import TasteRanker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing import worlds

SMALL = {"embedding_size": 16, "heads": 2, "hidden_size": 16, "learning_rate": 0.01, "train_batch_size": 15}


@pytest.fixture(scope="module")
def fitted():
    catalog, chosen = worlds.pictures_only()
    ranker = DINRanker(**SMALL, epochs=2).fit(catalog, chosen, rng=Rng(0))
    return ranker, catalog, chosen


def history_of(chosen, user):
    return chosen.item[(chosen.user == user) & (chosen.split == "train")]


def test_a_choice_and_its_negatives_see_equally_many_others(monkeypatch):
    """Were a choice alone missing from its own history, its number would tell it from a negative."""
    catalog, chosen = worlds.noise()
    own = np.bincount(chosen.only("train")[0])
    forward, seen = TargetAttention.forward, []

    def watched(net, history, known, candidate):
        if net.training:
            seen.append(known.sum(-1))
        return forward(net, history, known, candidate)

    monkeypatch.setattr(TargetAttention, "forward", watched)
    DINRanker(**{**SMALL, "train_batch_size": 30}, epochs=1, history_dropout=0.0).fit(
        catalog, chosen, rng=Rng(0)
    )
    choices, negatives = seen[:2]
    for user, count in enumerate(own):
        assert (choices[user, :count] == count - 1).all()
        assert (negatives[user] == count - 1).all()


def test_what_two_features_say_together_is_learned_where_the_closed_form_is_blind():
    """People like items whose two features agree in sign, or those where they differ: neither alone tells."""
    draw = np.random.default_rng(0)
    signs = draw.choice([-1.0, 1.0], size=(160, 2))
    x = np.concatenate([signs + 0.1 * draw.standard_normal((160, 2)), np.ones((160, 1))], axis=1)
    kind = signs.prod(1) > 0
    warm, cold = np.arange(160) < 80, np.arange(160) >= 80
    choices = []
    for u in range(80):
        mine = kind == (u % 2 == 0)
        train, later = (
            draw.permutation(np.flatnonzero(mine & warm)),
            draw.permutation(np.flatnonzero(mine & cold)),
        )
        choices.append([*train[:10].tolist(), *later[:2].tolist()])
    catalog, chosen = worlds.catalog({"image": x}), worlds.interactions(choices, 160)

    def auc(ranker):
        scores = ranker.fit(catalog, chosen, rng=Rng(0)).score(np.arange(80)).numpy()[:, cold]
        mine = kind[cold] == (np.arange(80) % 2 == 0)[:, None]
        return np.mean([(s[m][:, None] > s[~m]).mean() for s, m in zip(scores, mine, strict=True)])

    assert abs(auc(TasteRanker()) - 0.5) < 0.1
    assert auc(DINRanker(**SMALL, epochs=10, width=2)) > 0.95


def test_a_known_user_is_their_own_history(fitted):
    ranker, _, chosen = fitted
    users = np.arange(chosen.n_users)
    histories = [history_of(chosen, u) for u in users]
    torch.testing.assert_close(ranker.fold_in(histories), ranker.score(users), rtol=1e-6, atol=1e-6)


def test_scores_do_not_depend_on_how_many_are_held_at_a_time(fitted, monkeypatch):
    ranker, _, chosen = fitted
    users = np.arange(chosen.n_users)
    whole = ranker.score(users)
    monkeypatch.setattr("rankers.din.HELD", 1)
    torch.testing.assert_close(ranker.score(users[:7]), whole[:7], rtol=1e-6, atol=1e-6)


def test_a_picture_is_judged_without_the_words_of_the_item(fitted):
    ranker, catalog, chosen = fitted
    users, items = np.zeros(4, dtype=int), np.array([41, 42, 43, 44])
    new = {"image": np.repeat(catalog.features["image"][:1], 4, 0)}
    answer = ranker.substitute(users, items, new)
    histories = [history_of(chosen, 0)] * 4
    alone, own = ranker.appraise(histories, items, new), ranker.appraise(histories, items, {})
    np.testing.assert_allclose(answer.score - answer.original_score, alone.mean - own.mean, atol=1e-9)


def test_without_images_an_item_is_judged_by_its_words():
    catalog, chosen = worlds.pictures_only()
    words = replace(catalog, features={"text": catalog.features["image"]})
    ranker = DINRanker(**SMALL, epochs=1).fit(words, chosen, rng=Rng(0))
    histories, items = [history_of(chosen, 0)] * 3, np.array([41, 42, 43])
    given = {"text": words.features["text"][items]}
    own = ranker.appraise(histories, items, {})
    assert np.array_equal(own.mean, ranker.appraise(histories, items, given).mean)


def test_its_doubt_is_the_jackknife_over_choices(fitted):
    ranker, catalog, chosen = fitted
    history, item = history_of(chosen, 3), np.array([45])
    new = {"image": catalog.features["image"][:1]}
    whole = ranker.appraise([history], item, new)
    without = [np.delete(history, j) for j in range(len(history))]
    parts = [ranker.appraise([h], item, new).mean[0] for h in without]
    expected = np.sqrt(np.square(whole.mean[0] - parts).sum())
    assert whole.sd[0] == pytest.approx(expected, rel=1e-6)
    assert expected > 1e-3


def test_a_long_history_is_trained_in_parts_and_scored_whole(fitted):
    catalog, chosen = worlds.pictures_only()
    ranker = DINRanker(**SMALL, epochs=1, history=3).fit(catalog, chosen, rng=Rng(0))
    rows, known = ranker.model.histories(torch.arange(5), 3)
    assert rows.shape == (5, 3)
    assert known.all()
    for user in range(5):
        own = history_of(chosen, user)
        assert len(set(rows[user].tolist())) == 3
        assert set(rows[user].tolist()) <= set(own.tolist())
        whole = ranker.model.histories(torch.tensor([user]))[0][0]
        assert sorted(whole.tolist()) == sorted(own.tolist())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "embedding_size must be a multiple of heads, got 64 and 3"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must be in \[0, 1\], got 1.5"),
    ],
)
def test_a_setting_that_cannot_be_is_told(settings, message):
    with pytest.raises(SettingError, match=message):
        DINRanker(**settings)


def test_an_unknown_modality_is_told(fitted):
    ranker, _, chosen = fitted
    with pytest.raises(DataError, match=r"unknown modality 'imgae'\. Did you mean 'image'"):
        ranker.appraise([history_of(chosen, 0)], np.array([0]), {"imgae": np.zeros((1, 10))})
