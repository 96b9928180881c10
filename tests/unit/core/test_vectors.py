"""Vectors of length 1: each alone, in the precision that is asked for, zeros left alone."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_gen.core.vectors import unit


@pytest.mark.parametrize("shape", [(4,), (5, 3), (2, 5, 3)])
def test_vectors_have_length_one_and_their_direction(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(unit(x), axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(unit(x) * np.linalg.norm(x, axis=-1, keepdims=True), x, rtol=1e-6)
    assert unit(x).dtype == np.float32
    assert unit(x, np.float64).dtype == np.float64


def test_a_zero_stays_zero_and_changes_nobody():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]])
    assert unit(x).tolist() == [[0.6, 0.8], [0.0, 0.0], [0.0, 1.0]]
    assert unit(x[:1]).tolist() == unit(x)[:1].tolist()
