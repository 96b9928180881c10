"""Counterfactual items: an increment equals building everything again."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from exact_items import random_items
from hypothesis import given, settings
from hypothesis import strategies as st

from rankers.counterfactual import InteractionMask, Tables, rank_items
from rankers.item_graphs.knn import Directions, Neighbours, nearest
from rankers.item_graphs.shadow import Basis

USERS = 12


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def features(n: int, d: int, seed: int, *, positive: bool) -> torch.Tensor:
    """Rough features with duplicates, a zero row and many near neighbours, as real pictures have."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    x = (x * 2).round() / 2 if seed % 2 else x
    x[n // 2], x[n // 3] = x[0], x[0]
    x[n // 4] = 0
    x = x.abs() + 0.01 * (x != 0) if positive else x
    x[n // 4] = 1e-3 if positive else 0  # the published recipe has no answer for a zero degree
    return x


def new_images(x: torch.Tensor, items: torch.Tensor, seed: int, *, positive: bool) -> torch.Tensor:
    """Fresh pictures, and the awkward ones: the item's own, another item's, a zero one."""
    new = torch.randn(len(items), x.shape[1], generator=torch.Generator().manual_seed(seed + 1))
    new = new.abs() if positive else new
    new[0], new[1] = x[items[0]], x[0]
    if not positive:
        new[2] = 0
    return new


def answers(model, users, items, new, table):
    changed = model.changed(items, new, own_row_only=False)
    fast = rank_items(users, items, Tables(table, model.table), SEEN, changed)
    slow_score, slow_rank = [], []
    for b in range(len(items)):
        at = slice(b, b + 1)
        rebuilt = model.rebuilt(items[at], {m: x[at] for m, x in new.items()})
        score, rank, *_ = rank_items(users[at], items[at], Tables(table, rebuilt.table), SEEN, None)
        slow_score.append(score)
        slow_rank.append(rank)
    return fast, (torch.cat(slow_score), torch.cat(slow_rank))


def on_directions(r: int):
    """Search shadows on ``r`` random directions; 0: whole rows."""

    def drawn(unit: Directions, lowest: torch.Tensor) -> Basis:
        wide = torch.randn(unit.steps.shape[1], r, generator=torch.Generator().manual_seed(r))
        return Basis(torch.linalg.qr(wide.double()).Q) if r else Basis()

    return mock.patch.multiple("rankers.item_graphs.graph_change", MANY=0, Basis=mock.Mock(of=drawn))


SEEN = InteractionMask.of(np.repeat(np.arange(USERS), 4), np.tile(np.arange(4) * 5, USERS), USERS, "cpu")


@settings(max_examples=90, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    n=st.sampled_from([30, 55, 110]),
    k=st.sampled_from([1, 4, 10]),
    layers=st.sampled_from([1, 2, 3]),
    norm=st.sampled_from(["symmetric", "row"]),
    published=st.booleans(),
    one_view=st.booleans(),
    both=st.booleans(),
    shadow=st.sampled_from([0, 1, 3]),
)
def test_an_increment_equals_a_rebuild(seed, n, k, layers, norm, published, one_view, both, shadow):
    """Scores to 1e-6 (in fact to rounding), ranks identical: 90 graphs of 24 triples, 2,160 in all.

    Whether rows are searched whole or by shadows on any ``shadow`` directions.
    """
    recipe = {"raw_features": "trainable", "negative_cosine": "keep"} if published else {}
    data = {
        "image": features(n, 6, seed, positive=published),
        "text": features(n, 5, seed + 7, positive=published),
    }
    model = random_items(
        data, seed=seed, one_view=one_view, knn_k=k, n_item_layers=layers, item_norm=norm, **recipe
    )
    draw = torch.Generator().manual_seed(seed)
    items = torch.randint(0, n, (24,), generator=draw)
    users = torch.randint(0, USERS, (24,), generator=draw)
    table = torch.randn(USERS, 16, generator=draw, dtype=torch.float64)
    new = {
        m: new_images(data[m], items, seed, positive=published)
        for m in (("image", "text") if both else ("image",))
    }
    with on_directions(shadow):
        (score, rank, _, _), (slow_score, slow_rank) = answers(model, users, items, new, table)
    torch.testing.assert_close(score, slow_score, atol=1e-9, rtol=1e-9, equal_nan=True)
    known = ~score.isnan()
    assert known.any()
    assert torch.equal(rank[known], slow_rank[known])


def with_gaps(x: torch.Tensor, k: int, approximate_from: int) -> Neighbours:
    """Lists that lack a quarter of the true neighbours, as a poor index would make them."""
    true = nearest(x, min(2 * k, len(x)))
    lost = torch.rand(true.index.shape, generator=torch.Generator().manual_seed(k)) < 0.25
    place = (lost.long() * true.index.shape[1] + torch.arange(true.index.shape[1])).argsort(1)[:, :k]
    place = place.sort(1).values
    return Neighbours(true.index.gather(1, place), true.value.gather(1, place))


GAPS = mock.patch.multiple(
    "rankers.item_graphs.modality_graph", neighbours=with_gaps, cached_neighbours=with_gaps
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    n=st.sampled_from([30, 55, 110]),
    k=st.sampled_from([1, 4, 10]),
    layers=st.sampled_from([1, 2]),
    norm=st.sampled_from(["symmetric", "row"]),
    raw=st.sampled_from(["frozen", "trainable"]),
)
def test_an_increment_equals_the_lists_of_an_index_with_one_new_row(seed, n, k, layers, norm, raw):
    """Rebuilt means: the trained lists, but for the item's own and its place in others."""
    data = {
        "image": features(n, 6, seed, positive=False),
        "text": features(n, 5, seed + 7, positive=False),
    }
    sizes = {
        "knn_k": k,
        "n_item_layers": layers,
        "item_norm": norm,
        "approximate_from": 1,
        "raw_features": raw,
    }
    with GAPS:
        model = random_items(data, seed=seed, **sizes)
    whole = nearest(data["image"], k + 1)
    assert not torch.equal(model.modalities["image"].states[1].neighbours.index, whole.index)
    draw = torch.Generator().manual_seed(seed)
    items = torch.randint(0, n, (24,), generator=draw)
    users = torch.randint(0, USERS, (24,), generator=draw)
    table = torch.randn(USERS, 16, generator=draw, dtype=torch.float64)
    new = {"image": new_images(data["image"], items, seed, positive=False)}
    (score, rank, _, _), (slow_score, slow_rank) = answers(model, users, items, new, table)
    torch.testing.assert_close(score, slow_score, atol=1e-9, rtol=1e-9)
    assert torch.equal(rank, slow_rank)


def test_the_own_image_changes_nothing_where_lists_have_gaps():
    """Though a search for it would find neighbours that its list lacks."""
    with GAPS:
        data, model = small_model(approximate_from=1)
    items = torch.arange(60)
    new = {"image": data["image"].clone()}
    new["image"][7] *= -1
    for own_row_only in (False, True):
        key = model.changed(items, new, own_row_only=own_row_only).key
        assert set((key // 60).tolist()) == {7}
    assert torch.equal(model.rebuilt(items[3:4], {"image": new["image"][3:4]}).table, model.table)


def whole(changed):
    """All the rows that differ."""
    return changed.rows(torch.arange(len(changed.key)))


def small_model(**settings_):
    data = {"image": features(60, 6, 1, positive=False), "text": features(60, 5, 2, positive=False)}
    return data, random_items(data, knn_k=5, **settings_)


def test_the_own_image_changes_nothing():
    data, model = small_model()
    items = torch.arange(60)
    for own_row_only in (False, True):
        changed = model.changed(items, {"image": data["image"]}, own_row_only=own_row_only)
        torch.testing.assert_close(whole(changed), model.table[changed.key % 60], atol=1e-14, rtol=0)


def test_changes_are_judged_alone():
    """A batch gives what each change gives by itself, in any order."""
    data, model = small_model(n_item_layers=2)
    items = torch.arange(20)
    new = new_images(data["image"], items, 3, positive=False)
    together = model.changed(items, {"image": new}, own_row_only=False)
    for b in (0, 2, 11):
        alone = model.changed(items[b : b + 1], {"image": new[b : b + 1]}, own_row_only=False)
        mine = together.key // 60 == b
        assert torch.equal(together.key[mine] % 60, alone.key)
        torch.testing.assert_close(whole(together)[mine], whole(alone), atol=1e-13, rtol=0)


def test_scope_item_moves_no_other_row():
    data, model = small_model(n_item_layers=3)
    items = torch.tensor([3, 9, 41])
    new = {"image": new_images(data["image"], items, 5, positive=False)}
    rows = model.changed(items, new, own_row_only=True)
    assert torch.equal(rows.key % 60, items)


def test_touched_rows_are_those_that_a_rebuild_moves():
    """No row outside the touched set differs after a rebuild, and some inside do."""
    _, model = small_model()
    items = torch.tensor([8])
    new = {"image": torch.randn(1, 6, generator=torch.Generator().manual_seed(4))}
    rows = model.changed(items, new, own_row_only=False)
    moved = (model.rebuilt(items, new).table - model.table).abs().amax(1) > 1e-12
    assert moved.any()
    assert set(moved.nonzero().flatten().tolist()) <= set(rows.key.tolist())


def test_the_gap_tells_when_a_list_is_about_to_change():
    """A gap of 0 is a tie at the k-th place: the new image ties with two neighbours there."""
    x = torch.zeros(12, 12)
    x[torch.arange(12), torch.arange(12)] = 1
    model = random_items({"image": x}, knn_k=2)
    tie = torch.zeros(1, 12)
    tie[0, [3, 4]] = 1  # equally near to 3 and to 4; the list takes itself and one of them
    gap = model.changed(torch.tensor([0]), {"image": tie}, own_row_only=False).gap
    assert gap.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("one_view", [False, True])
def test_no_row_moves_further_than_is_said(layers, one_view):
    """And what is said is of use: most rows are said to move by little."""
    data, model = small_model(n_item_layers=layers, one_view=one_view)
    items = torch.arange(60)
    new = {"image": new_images(data["image"], items, 3, positive=False)}
    changed = model.changed(items, new, own_row_only=False)
    moved = (whole(changed) - model.table[changed.key % 60]).norm(dim=1)
    assert (moved <= changed.reach + 1e-12).all()
    if layers == 1:
        assert changed.reach.median() < 0.5
