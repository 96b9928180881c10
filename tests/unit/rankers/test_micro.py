"""MICRO's settings, graphs and anchors."""

from dataclasses import asdict
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rankers.configs import MICROConfig
from rankers.item_graphs import cells
from rankers.item_graphs.cells import neighbours
from rankers.micro import MICRO, MICRORanker
from rankers.training.data import TrainingData
from rankers.training.pairs import Batch
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import seeded
from recsim_gen.testing import worlds


@pytest.fixture(autouse=True)
def _apart(apart):
    pass


def built(features=None, **settings) -> MICRO:
    catalog, chosen = worlds.noise()
    config = MICROConfig(**{"embedding_size": 8, "knn_k": 5, **settings})
    with seeded(Rng(0)):
        return MICRO(config, TrainingData.of(chosen, features or catalog.features, "cpu"))


def batch(size: int = 6) -> Batch:
    rows = torch.arange(size)
    return Batch(rows, rows + 10, rows + 20)


def test_settings_are_those_of_the_papers():
    """Zhang et al. and their code, value by value; the default differs where stated, and in the batch."""
    ours, theirs = asdict(MICRORanker().config), asdict(MICRORanker(recipe="published-code").config)
    assert theirs == {
        "embedding_size": 64,
        "n_layers": 2,
        "n_item_layers": 1,
        "knn_k": 10,
        "frozen_weight": 0.9,
        "rebuild_every": 1,
        "temperature": 0.5,
        "contrastive_weight": 0.03,
        "contrastive_anchors": 0,
        "contrastive_every": 1,
        "learning_rate": 5e-4,
        "learning_rate_decay": 0.96,
        "train_batch_size": 1024,
        "reg_weight": 1e-5,
        "epochs": 1000,
        "eval_step": 5,
        "stopping_step": 10,
        "valid_metric": "Recall@20",
        "sampling": "user-repeated",
        "user_item_norm": "row-self-loop",
        "item_norm": "symmetric",
        "raw_features": "trainable",
        "negative_cosine": "keep",
        "approximate_from": 0,
        "valid_users": 0,
    }
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert changed == {
        "learning_rate",
        "train_batch_size",
        "stopping_step",
        "contrastive_anchors",
        "contrastive_every",
        "raw_features",
        "negative_cosine",
        "user_item_norm",
        "sampling",
        "rebuild_every",
        "approximate_from",
        "valid_users",
    }
    assert MICRORanker(recipe="published-code", sampling="interaction").config.sampling == "interaction"


@pytest.mark.parametrize(
    "wrong",
    [
        {"knn_k": 0},
        {"frozen_weight": 1.5},
        {"n_item_layers": 0},
        {"rebuild_every": 0},
        {"item_norm": "x"},
        {"approximate_from": -1},
    ],
)
def test_settings_out_of_range_are_told(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        MICRORanker(**wrong)


def test_more_neighbours_than_items_are_told():
    with pytest.raises(DataError, match="at least k = 41 items, got 40"):
        MICRORanker(epochs=1, knn_k=41).fit(*worlds.noise(), rng=Rng(0))


def test_an_item_moves_the_scores_through_the_graph_alone():
    """Own neighbours and weights are all that a feature does: with λ = 1 only the frozen graph is left."""
    model = built(frozen_weight=1.0).eval()
    before = torch.cat(model.final())
    with torch.no_grad():
        for graph in model.modalities.values():
            graph.projection.weight.mul_(-3).add_(1)
    torch.testing.assert_close(torch.cat(model.eval().final()), before, rtol=0, atol=1e-6)  # rounding of BLAS
    mixed = built(frozen_weight=0.5).eval()
    before = torch.cat(mixed.final())
    with torch.no_grad():
        mixed.modalities["image"].projection.weight[0].mul_(-30)
    assert not torch.allclose(torch.cat(mixed.eval().final()), before)


@pytest.mark.parametrize(("every", "training"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 4, 7])])
def test_learned_graphs_are_found_again_every_few_epochs_and_at_each_validation(every, training):
    model = built(rebuild_every=every)
    found: list[str] = []
    now: list[int] = []

    def watched(*args):
        found.append(f"epoch {now[-1]}" if model.training else "validation")
        return neighbours(*args)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with mock.patch("rankers.item_graphs.modality_graph.neighbours", side_effect=watched):
        for epoch in range(1, 8):
            now.append(epoch)
            model.train()
            for _ in range(3):
                model.loss(batch()).backward()
                optimizer.step()
        model.eval()
        model.scores(torch.arange(3))
        model.scores(torch.arange(3))
    modalities = 2
    assert found == [f"epoch {e}" for e in training for _ in range(modalities)] + ["validation"] * modalities


def test_an_items_projection_has_the_same_bits_in_any_company():
    graph = built().modalities["image"]
    whole = graph.projected()
    for rows in ([3], [3, 7], list(range(40))[::-1]):
        assert torch.equal(graph.projected(graph.raw[rows]), whole[rows])


def test_equal_pictures_stay_equal_after_the_projection():
    features = {"image": np.repeat(np.random.default_rng(0).standard_normal((10, 12)), 4, axis=0)}
    graph = built(features).modalities["image"]
    graph.rebuild()
    first = graph.learned_neighbours.index[:, :4] // 4
    assert (first == torch.arange(40)[:, None] // 4).all()
    assert (graph.learned_neighbours.index[:, :4] % 4 == torch.arange(4)).all()  # the lowest first


def test_anchors_give_the_exact_term_in_the_mean():
    exact = built(contrastive_anchors=0, contrastive_weight=1.0, contrastive_every=1).train()
    some = built(contrastive_anchors=5, contrastive_weight=1.0, contrastive_every=1).train()
    some.load_state_dict(exact.state_dict())
    torch.manual_seed(0)
    wanted = exact.loss(batch()).item()
    with torch.no_grad():
        estimates = [some.loss(batch()).item() for _ in range(400)]
    error = np.std(estimates) / 20
    assert error > 0
    assert abs(np.mean(estimates) - wanted) < 4 * error


def test_every_fourth_step_holds_the_term_and_four_times_as_heavy():
    every = built(contrastive_anchors=0, contrastive_every=1).train()
    fourth = built(contrastive_anchors=0, contrastive_every=4).train()
    without = built(contrastive_weight=0.0).train()
    for other in (fourth, without):
        other.load_state_dict(every.state_dict())
    bare = without.loss(batch()).item()
    term = every.loss(batch()).item() - bare
    found = [fourth.loss(batch()).item() - bare for _ in range(8)]
    assert term > 0
    assert found == pytest.approx([4 * term, 0, 0, 0] * 2, abs=1e-5)


def test_one_modality_has_no_contrastive_term():
    features = {"image": worlds.noise()[0].features["image"]}
    with_term, without = (built(features, contrastive_weight=w).train() for w in (5.0, 0.0))
    assert with_term.loss(batch()).item() == without.loss(batch()).item()


def test_lists_of_an_index_are_those_of_the_checkpoint_and_their_recall_is_kept(apart):
    """What judges after loading has the lists that were trained with."""
    catalog, chosen = worlds.noise()
    ranker = MICRORanker(epochs=1, embedding_size=8, knn_k=5, approximate_from=40)
    ranker.fit(catalog, chosen, rng=Rng(0)).save(apart / "kept")
    assert set(ranker.neighbour_recall) == {f"{m} {g}" for m in catalog.features for g in ("raw", "learned")}
    assert all(share > 0.9 for share in ranker.neighbour_recall.values())
    with mock.patch.object(cells, "indexed", side_effect=AssertionError("another CPU may find others")):
        again = MICRORanker.load(apart / "kept", catalog, chosen)
        assert again.fingerprint == ranker.fingerprint
        assert torch.equal(again.score(np.arange(8)), ranker.score(np.arange(8)))
    assert again.neighbour_recall == ranker.neighbour_recall
    for name, modality in ranker.exact.modalities.items():
        for mine, theirs in zip(modality.states, again.exact.modalities[name].states, strict=True):
            assert torch.equal(mine.neighbours.index, theirs.neighbours.index)
            assert torch.equal(mine.neighbours.value, theirs.neighbours.value)
    rows, new = np.arange(10), {"image": catalog.features["image"][:10].copy()}
    answer = again.substitute(rows, rows, new)
    assert np.array_equal(answer.rank, answer.original_rank)  # own pictures
    assert (
        MICRORanker(epochs=1, embedding_size=8, knn_k=5).fit(catalog, chosen, rng=Rng(0)).neighbour_recall
        == {}
    )


def test_lists_of_another_catalogue_are_told(apart):
    catalog, chosen = worlds.noise()
    ranker = MICRORanker(epochs=1, embedding_size=8, knn_k=5, approximate_from=40)
    ranker.fit(catalog, chosen, rng=Rng(0)).save(apart / "kept")
    file = apart / "kept" / "neighbours.safetensors"
    lists = load_file(file)
    save_file({name: index + len(catalog) for name, index in lists.items()}, file)
    with pytest.raises(DataError, match=r"neighbours\.safetensors: .* rows in \[0, \d+\), got"):
        MICRORanker.load(apart / "kept", catalog, chosen)
    file.write_bytes(b"no tensors")
    with pytest.raises(DataError, match="no readable lists of neighbours"):
        MICRORanker.load(apart / "kept", catalog, chosen)
