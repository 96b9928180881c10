"""What every ranker's `substitute` must hold, whether it sees pictures or not."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

SEES = ("micro", "micro:published-code", "lattice", "vbpr", "taste", "din")
CLOSED_FORM = ("popularity", "taste")
BLIND = ("bpr", "lightgcn", "popularity")
SHORT = {"epochs": 2, "embedding_size": 8, "train_batch_size": 32}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Each ranker trained a little on one world, made when first asked for."""
    made = {}
    catalog, chosen = worlds.noise(n_users=30, n_items=40)
    if_positive = {
        m: np.abs(x) for m, x in catalog.features.items()
    }  # the published recipe wants cosines ≥ 0
    catalog = worlds.catalog(if_positive)

    def get(spec):
        if spec not in made:
            settings = {} if spec in CLOSED_FORM else SHORT
            made[spec] = make_ranker(RankerSpec(spec, settings)).fit(catalog, chosen, rng=Rng(0))
        return made[spec], catalog, chosen

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield get


def everyone(chosen):
    """Every (user, item)."""
    users, items = np.meshgrid(np.arange(chosen.n_users), np.arange(chosen.n_items), indexing="ij")
    return users.ravel(), items.ravel()


@pytest.mark.parametrize("scope", ["graph", "item"])
@pytest.mark.parametrize("spec", [*SEES, *BLIND])
def test_own_image_gives_a_rank_change_of_exactly_0_for_every_user_and_item(fitted, spec, scope):
    ranker, catalog, chosen = fitted(spec)
    users, items = everyone(chosen)
    own = {m: x[items] for m, x in catalog.features.items()}
    answer = ranker.substitute(users, items, own, scope)
    assert np.array_equal(answer.rank, answer.original_rank)
    np.testing.assert_allclose(answer.score, answer.original_score, atol=1e-12)


@pytest.mark.parametrize("spec", [*SEES, *BLIND])
def test_original_scores_and_ranks_are_the_rankers_own(fitted, spec):
    ranker, catalog, chosen = fitted(spec)
    users, items = everyone(chosen)
    answer = ranker.substitute(users, items, {"image": catalog.features["image"][items]})
    scores = ranker.score(np.arange(chosen.n_users)).double().numpy()
    np.testing.assert_allclose(answer.original_score, scores.ravel(), atol=1e-6)
    seen = np.zeros_like(scores, dtype=bool)
    seen[chosen.only("train", "valid")] = True
    for place in range(0, len(users), 37):
        u, i = users[place], items[place]
        others = [j for j in range(chosen.n_items) if j != i and not seen[u, j]]
        above = np.sum(scores[u, others] > scores[u, i] + 1e-6)
        tied = np.sum(np.abs(scores[u, others] - scores[u, i]) <= 1e-6)
        assert 1 + above <= answer.original_rank[place] <= 1 + above + tied


@pytest.mark.parametrize("spec", SEES)
def test_an_image_moves_those_that_see_and_equals_a_rebuild(fitted, spec):
    ranker, _, chosen = fitted(spec)
    draw = np.random.default_rng(0)
    users, items = draw.integers(0, chosen.n_users, 30), draw.integers(0, chosen.n_items, 30)
    new = {"image": np.abs(draw.standard_normal((30, 12))).astype(np.float32)}
    answer, slow = ranker.substitute(users, items, new), ranker.rebuild(users, items, new)
    assert np.abs(answer.score - answer.original_score).max() > 1e-9
    assert (answer.touched >= 1).all()
    np.testing.assert_allclose(answer.score, slow.score, atol=1e-9)
    assert np.array_equal(answer.rank, slow.rank)


@pytest.mark.parametrize("spec", BLIND)
def test_the_blind_answer_with_the_unchanged_score(fitted, spec):
    ranker, _, chosen = fitted(spec)
    users, items = everyone(chosen)
    new = {"image": np.random.default_rng(0).standard_normal((len(users), 12))}
    answer = ranker.substitute(users, items, new)
    assert np.array_equal(answer.score, answer.original_score)
    assert np.array_equal(answer.rank, answer.original_rank)
    assert not answer.touched.any()


@pytest.mark.parametrize("spec", [*SEES, "bpr"])
def test_triples_are_judged_alone(fitted, spec, monkeypatch):
    """Order and batch make no difference."""
    ranker, _, chosen = fitted(spec)
    draw = np.random.default_rng(1)
    users, items = draw.integers(0, chosen.n_users, 25), draw.integers(0, chosen.n_items, 25)
    new = np.abs(draw.standard_normal((25, 12))).astype(np.float32)
    whole = ranker.substitute(users, items, {"image": new})
    order = draw.permutation(25)
    monkeypatch.setattr("rankers.counterfactual.BATCH_CHANGES", 3)
    parts = ranker.substitute(users[order], items[order], {"image": new[order]})
    np.testing.assert_allclose(parts.score, whole.score[order], atol=1e-12)
    assert np.array_equal(parts.rank, whole.rank[order])


@pytest.mark.parametrize("spec", [*SEES, "bpr"])
def test_people_who_are_asked_about_one_change_are_judged_alone(fitted, spec):
    """One image of one item for everybody, between images of others; once more than there are people."""
    ranker, _, chosen = fitted(spec)
    draw = np.random.default_rng(2)
    users = np.concatenate([np.arange(chosen.n_users), draw.integers(0, chosen.n_users, 15)])
    items = np.where(draw.random(len(users)) < 0.7, 3, draw.integers(0, chosen.n_items, len(users)))
    images = np.abs(draw.standard_normal((2, 12))).astype(np.float32)
    new = images[(draw.random(len(users)) < 0.2).astype(int)]
    answer = ranker.substitute(users, items, {"image": new})
    for k in range(len(users)):
        alone = ranker.substitute(users[k : k + 1], items[k : k + 1], {"image": new[k : k + 1]})
        assert abs(alone.score[0] - answer.score[k]) < 1e-12
        assert (alone.rank[0], alone.touched[0]) == (answer.rank[k], answer.touched[k])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {"image": np.zeros((2, 5))}}, r"must be \(2, 12\), got \(2, 5\).*another encoder"),
        ({"features": {"image": np.full((2, 12), np.nan)}}, "must be finite"),
        ({"features": {"sound": np.zeros((2, 12))}}, "unknown modality 'sound'"),
        ({"users": np.array([0, 30])}, r"user rows must be in \[0, 30\), got 30"),
        ({"items": np.array([0, -1])}, r"item rows must be in \[0, 40\), got -1"),
        ({"items": np.array([0, 1, 2])}, "alike"),
    ],
)
def test_bad_input_is_told(fitted, change, message):
    ranker, *_ = fitted("micro")
    given = {"users": np.array([0, 1]), "items": np.array([2, 3]), "features": {"image": np.ones((2, 12))}}
    with pytest.raises(DataError, match=message):
        ranker.substitute(**{**given, **change})


def test_an_unknown_scope_is_told(fitted):
    ranker, *_ = fitted("micro")
    with pytest.raises(SettingError, match=r"unknown scope 'grph'\. Did you mean 'graph'"):
        ranker.substitute(np.array([0]), np.array([1]), {"image": np.ones((1, 12))}, "grph")


def test_an_untrained_ranker_says_so():
    with pytest.raises(SettingError, match="neither fitted nor loaded"):
        make_ranker("micro").substitute(np.array([0]), np.array([0]), {"image": np.ones((1, 3))})
