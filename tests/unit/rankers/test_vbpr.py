"""VBPR: its formula, the row of an item that looks otherwise, and how new people are folded in."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from rankers.fold_in import RIDGE, regress
from rankers.vbpr import VBPRRanker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Interactions
from recsim_gen.testing import worlds

WORLD = worlds.pictures_only()
ITEMS = len(WORLD[0])
USERS = np.arange(WORLD[1].n_users)
SIZE = {"embedding_size": 8, "feature_size": 6}


def trained(catalog: Catalog = WORLD[0], interactions: Interactions = WORLD[1], **settings) -> VBPRRanker:
    settings = {"epochs": 15, "learning_rate": 0.005, "train_batch_size": 128, **SIZE, **settings}
    return VBPRRanker(**settings).fit(catalog, interactions, rng=Rng(0))


@pytest.fixture(scope="module")
def ranker() -> VBPRRanker:
    return trained()


def feature(modality: str, rows: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(WORLD[0].features[modality][rows.numpy()])


def test_score_is_the_formula(ranker):
    """b_i + γ_u·γ_i + Σ_m (θ_um·W_m x + β_m·x) with x of length 1, from the weights alone."""
    w = {k: v.double().numpy() for k, v in ranker.model.state_dict().items()}
    assert np.abs(w["item_bias"]).max() > 1e-3  # it was trained
    wanted = w["item_bias"][None] + w["user_embedding.weight"] @ w["item_embedding.weight"].T
    for m, x in WORLD[0].features.items():
        x = x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: PLW2901
        both = w[f"modalities.{m}.projection.weight"]
        wanted += w[f"modalities.{m}.taste.weight"] @ (both[:-1] @ x.T) + (both[-1] @ x.T)[None]
    np.testing.assert_allclose(ranker.score(USERS).numpy(), wanted, atol=1e-5)


def test_pictures_all_alike_say_nothing_of_what_nobody_chose():
    """Then whether a cold item of the user's style beats another is chance."""
    catalog = WORLD[0].with_features("image", None, np.ones((ITEMS, 4)))
    blind = trained(catalog.with_features("text", None, np.ones((ITEMS, 4))))
    row = np.arange(ITEMS)
    never = ~np.isin(row, WORLD[1].only("train")[1])
    own = row // 40 == USERS[:, None] % 4
    scores = blind.score(USERS).numpy()
    wins = [(s[o & never][:, None] > s[~o & never]).mean() for s, o in zip(scores, own, strict=True)]
    assert 0.4 < np.mean(wins) < 0.6


def test_own_features_give_the_own_row_to_the_bit(ranker):
    """In any batch and any order; the float32 table is its rounding."""
    model, everything = ranker.model, torch.arange(ITEMS)
    table = model.item_row(everything)
    assert table.dtype == torch.float64
    assert torch.equal(table.float(), model.final()[1])
    for rows in (*(everything.split(size) for size in (1, 3, 50)), [everything.flip(0)]):
        again = [model.item_row(r, {m: feature(m, r) for m in ("image", "text")}) for r in rows]
        assert torch.equal(torch.cat(again), table[torch.cat(list(rows))])


def test_a_picture_changes_its_own_part_and_the_bias_alone(ranker):
    row = torch.tensor([5])
    differs = ranker.model.item_row(row) != ranker.model.item_row(row, {"image": feature("image", row + 90)})
    assert differs[0].nonzero().flatten().tolist() == [*range(8, 14), 20]  # γ 8, image 6, text 6, bias


def test_substitution_is_what_a_model_of_the_changed_catalogue_says(ranker):
    rows = torch.tensor([3, 77, 140])
    new = feature("image", torch.tensor([100, 5, 60]))
    answer = ranker.substitute(USERS[:3], rows.numpy(), {"image": new.numpy()})
    for b in range(3):
        other = copy.deepcopy(ranker)
        look = other.model.modalities["image"]
        look.x[rows[b]] = new[b] / new[b].norm()
        other.model.train().eval()
        scores = other.score(USERS[b : b + 1])[0]
        assert float(scores[rows[b]]) == pytest.approx(answer.score[b], abs=1e-5)
        assert answer.touched[b] == 1
    reference = ranker.rebuild(USERS[:3], rows.numpy(), {"image": new.numpy()})
    np.testing.assert_array_equal(reference.rank, answer.rank)
    np.testing.assert_allclose(reference.score, answer.score, atol=1e-12)


def test_the_own_picture_changes_nothing(ranker):
    """Every item, for users of each style: no rank, and no score beyond the sums' rounding."""
    items = np.tile(np.arange(ITEMS), 4)
    x = {m: x[items] for m, x in WORLD[0].features.items()}
    answer = ranker.substitute(np.repeat(USERS[:4], ITEMS), items, x)
    np.testing.assert_array_equal(answer.rank, answer.original_rank)
    np.testing.assert_allclose(answer.score, answer.original_score, atol=1e-12)


def test_the_encoders_scale_does_not_matter(ranker):
    catalog = WORLD[0]
    for m, factor in (("image", 4.0), ("text", 1 / 1024)):  # powers of two: no rounding
        catalog = catalog.with_features(m, None, factor * catalog.features[m])
    assert torch.equal(trained(catalog).score(USERS), ranker.score(USERS))


def test_new_people_are_a_ridge_regression(ranker):
    """scikit-learn's, on the mean rows of what each trained user chose."""
    draw = np.random.default_rng(0)
    users, items = draw.normal(size=(30, 4)), draw.normal(size=(20, 7))
    pairs = np.array([(u, i) for u in range(29) for i in draw.choice(20, 3 + u % 5, replace=False)]).T
    x = np.stack([items[pairs[1][pairs[0] == u]].mean(0) for u in range(29)])  # the last chose nothing
    alpha = RIDGE * np.square(x - x.mean(0)).sum() / 7
    histories = [[1, 2, 3], [19]]
    wanted = Ridge(alpha=alpha).fit(x, users[:29]).predict([items[h].mean(0) for h in histories])
    got = regress(histories, torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(pairs))
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6)


def test_a_trained_person_folded_in_gets_much_the_same_scores(ranker):
    user, item = WORLD[1].only("train")
    folded = ranker.fold_in([item[user == u] for u in USERS])
    both = torch.stack([folded.flatten(), ranker.score(USERS).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("rows", "given", "problem"),
    [
        ([0, 1], {"image": np.ones((2, 9))}, r"must be \(2, 10\), got \(2, 9\).*another encoder"),
        ([0], {"image": np.ones((2, 10))}, r"must be \(1, 10\), got \(2, 10\)"),
        ([0], {"imag": np.ones((1, 10))}, "unknown modality 'imag'. Did you mean 'image'"),
        ([0], {"image": np.full((1, 10), np.nan)}, "must be finite"),
        ([ITEMS], {}, r"item rows must be in \[0, 160\), got 160"),
        ([-1], {}, r"item rows must be in \[0, 160\), got -1"),
    ],
)
def test_what_cannot_be_substituted_is_told(ranker, rows, given, problem):
    with pytest.raises(DataError, match=problem):
        ranker.substitute(np.zeros(len(rows), dtype=int), np.array(rows), given)


def test_sizes_must_be_positive():
    with pytest.raises(SettingError, match="at least 1, got 8 and 0"):
        VBPRRanker(embedding_size=8, feature_size=0)
