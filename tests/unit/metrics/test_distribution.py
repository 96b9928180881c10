"""Distances between sets of pictures, against closed forms and the libraries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from brought import shop
from pictures import ColourEncoder, colour_rows
from torchmetrics.image.fid import _compute_fid

from recsim_gen.core.errors import DataError
from recsim_gen.metrics.distribution import cmmd, frechet
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.scoring import open_metric, open_metrics


def features(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 5)) + shift


def test_frechet_is_torchmetrics():
    x, y = features(60, 0), features(40, 1, 0.5) * 2
    parts = [torch.from_numpy(part) for z in (x, y) for part in (z.mean(0), np.cov(z, rowvar=False))]
    assert frechet(x, y) == pytest.approx(float(_compute_fid(*parts)), rel=1e-6)


def test_frechet_in_one_dimension_by_hand():
    """(μ − ν)² + (σ − τ)²."""
    x, y = features(50, 0)[:, :1], 3 * features(50, 1, 1)[:, :1]
    wanted = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet(x, y) == pytest.approx(wanted)


def test_both_are_0_for_the_same_set_and_grow_with_the_shift():
    x = features(50, 0)
    for distance in (frechet, cmmd):
        assert distance(x, x) == pytest.approx(0, abs=1e-6)
        assert 0 < distance(x, features(50, 1, 1)) < distance(x, features(50, 1, 3))


def test_cmmd_by_its_formula(monkeypatch):
    monkeypatch.setattr("recsim_gen.metrics.distribution.BLOCK", 7)
    x, y = features(20, 0), features(30, 1, 1)
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))

    def mean(a, b):
        return np.mean([[np.exp(-((p - q) ** 2).sum() / 200) for q in b] for p in a])

    assert cmmd(x, y) == pytest.approx(1000 * (mean(u, u) + mean(v, v) - 2 * mean(u, v)))
    assert cmmd(5 * x, y) == pytest.approx(cmmd(x, y))  # unit features


def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="two sets of at least 2 features of one width are wanted"):
        frechet(features(1, 0), features(5, 1))
    with pytest.raises(DataError, match=r"got \(3, 5\), \(3, 4\)"):
        cmmd(features(3, 0), features(3, 1)[:, :4])


def test_each_variant_is_compared_with_the_references(apart):
    rows, colour = colour_rows(), ColourEncoder()
    rows.labels["variant"][:] = ["a", "a", "a"]
    found = open_metric("cmmd[colour]", Resources(encoders={"colour": colour}))(rows)
    x, real = rows.store.images(colour, rows.image), rows.store.images(colour, np.array([0, 2]))  # red, grey
    assert found.tolist() == [pytest.approx(cmmd(x, real))] * 3
    rows.labels["variant"][:] = ["a", "a", "b"]
    both = open_metric("cmmd[colour]", Resources(encoders={"colour": colour}))(rows)
    assert both[:2].tolist() == [pytest.approx(cmmd(x[:2], real))] * 2
    assert np.isnan(both[2])  # one picture is no set


def test_frechet_wants_more_pictures_than_dimensions_and_an_encoder(apart):
    resources = Resources(encoders={"colour": ColourEncoder()}, dataset=shop())
    few = dataclasses.replace(resources, dataset=dataclasses.replace(shop(), episodes=shop().episodes[:3]))
    assert np.isnan(open_metric("frechet[colour]", resources)(colour_rows())).all()
    told = [str(metric) for metric in open_metrics(["frechet[colour]", "frechet"], few)]
    assert told[0] == (
        "unavailable: needs 4 pictures of a method or more by colour, got 3 (--episodes; 0 is all)"
    )
    assert told[1].startswith("unavailable: needs an encoder in brackets, as in frechet[boutique-clip]")
