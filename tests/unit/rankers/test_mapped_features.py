"""Rankers of features that stay in a file: those of the same numbers in memory, to rounding."""

import numpy as np
import pytest
import torch

from rankers.item_graphs.cells import indexed, recall
from rankers.item_graphs.knn import candidate_cosines, directions
from rankers.item_graphs.mapped_rows import by_rows
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.vectors import write_mapped
from recsim_gen.testing import worlds

SHORT = {"epochs": 3, "embedding_size": 8, "train_batch_size": 64}


@pytest.fixture
def shops(tmp_path, monkeypatch):
    """One shop twice: features in memory, which float16 holds exactly, and in files."""
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path))
    given, chosen = worlds.noise(n_users=30, n_items=60)
    features = {m: x.astype(np.float16).astype(np.float32) for m, x in given.features.items()}
    memory = mapped = worlds.catalog(features)
    for m, x in features.items():
        mapped = mapped.with_features(m, None, write_mapped(tmp_path / f"{m}.npy", len(x), [x]))
    return memory, mapped, chosen


@pytest.mark.parametrize("spec", ["micro", "lattice", "vbpr", "taste", "din", "micro:published-code"])
def test_scores_and_substitutions_are_those_of_features_in_memory(shops, spec, tmp_path):
    memory, mapped, chosen = shops
    settings = {} if spec == "taste" else SHORT
    if spec == "micro":
        settings = {**settings, "approximate_from": 1}
    one, two = (
        make_ranker(RankerSpec(spec, settings)).fit(catalog, chosen, rng=Rng(0))
        for catalog in (memory, mapped)
    )
    torch.testing.assert_close(one.score(np.arange(30)), two.score(np.arange(30)), atol=1e-4, rtol=1e-4)
    users, items = np.arange(30), np.arange(30) * 2
    own = two.substitute(users, items, {"image": mapped.features["image"][items]})
    assert np.array_equal(own.rank, own.original_rank)
    new = {"image": memory.features["image"][::-1][items] + 1e-5}  # less than float16 tells
    quick, slow = two.substitute(users, items, new), two.rebuild(users, items, new)
    np.testing.assert_allclose(quick.score, slow.score, atol=1e-9)
    assert np.array_equal(quick.rank, slow.rank)
    two.save(tmp_path / "kept")
    again = type(two).load(tmp_path / "kept", mapped, chosen)
    assert again.fingerprint == two.fingerprint


def test_a_projection_by_rows_is_the_product_and_so_is_its_slope(monkeypatch):
    monkeypatch.setattr("rankers.item_graphs.mapped_rows.ROWS", 7)
    draw = Rng(0).torch()
    x = torch.randn(30, 5, generator=draw).half()
    weight, bias = (torch.randn(size, generator=draw, dtype=torch.float64) for size in ((4, 5), (4,)))
    weight.requires_grad_()
    bias.requires_grad_()
    out = torch.randn(30, 4, generator=draw)
    for made in (by_rows(x, weight, bias), (x.double() @ weight.T + bias).float()):
        (made * out).sum().backward()
        torch.testing.assert_close(made, (x.double() @ weight.T + bias).float())
    whole = (x.double().T @ out.double()).T
    torch.testing.assert_close(weight.grad, 2 * whole, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(bias.grad, 2 * out.double().sum(0), atol=1e-6, rtol=1e-6)


def test_an_index_of_mapped_rows_finds_as_much():
    draw = Rng(1).torch()
    centres = torch.randn(40, 24, generator=draw)
    x = (
        centres[torch.randint(40, (4000,), generator=draw)] + 0.5 * torch.randn(4000, 24, generator=draw)
    ).half()
    found, unit = indexed(x, 10), directions(x)
    assert recall(x, found) >= 0.99
    assert recall(x, found) == pytest.approx(recall(x.float(), indexed(x.float(), 10)), abs=0.005)
    assert torch.equal(found.value, candidate_cosines(unit, unit, found.index))
