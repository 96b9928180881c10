"""Large tables are trained in parts, on the rows that a step needs: the same training but for rounding."""

import pytest
import torch

from rankers import contrastive, propagation, sparse_rows
from rankers.lattice import LATTICERanker
from rankers.lightgcn import LightGCNRanker
from rankers.micro import MICRORanker
from recsim_gen.core.randomness import Rng
from recsim_gen.testing import worlds


@pytest.fixture
def large(monkeypatch):
    """Return what makes every table large."""

    def all_of_them() -> None:
        monkeypatch.setattr(sparse_rows, "LARGE", 0)
        monkeypatch.setattr(propagation, "ROWS", 16)
        monkeypatch.setattr(contrastive, "ROWS", 16)

    return all_of_them


@pytest.mark.parametrize(
    ("ranker", "settings"),
    [
        (MICRORanker, {"rebuild_every": 2, "contrastive_anchors": 8}),
        (MICRORanker, {"n_item_layers": 2, "n_layers": 1, "contrastive_every": 2}),
        (LATTICERanker, {"n_item_layers": 2, "rebuild_every": 1}),
        (LightGCNRanker, {"n_layers": 3}),
    ],
)
def test_a_ranker_of_large_tables_is_the_one_of_small_tables(ranker, settings, large):
    world, settings = worlds.noise(), {"epochs": 3, "eval_step": 1, "train_batch_size": 8, **settings}
    small = ranker(**settings).fit(*world, rng=Rng(0))
    large()
    other = ranker(**settings).fit(*world, rng=Rng(0))
    for mine, theirs in zip(other.model.final(), small.model.final(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-3)


def test_a_step_over_large_tables_counts_as_a_change_of_the_weights(large):
    large()
    model = MICRORanker(epochs=1, eval_step=1).fit(*worlds.noise(), rng=Rng(0)).model
    before = [weight._version for weight in model.parameters()]
    optimizer = model.optimizer()
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert all(weight._version > old for weight, old in zip(model.parameters(), before, strict=True))
