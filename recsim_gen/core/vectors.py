"""Vectors of unit length, as needed for cosines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def unit(x: NDArray[Any], dtype: DTypeLike = None) -> NDArray[Any]:
    """Return ``x`` (…, d) scaled to length 1; a zero vector stays zero (cosine 0 with everything).

    ``dtype``: use float64 for numbers that are reported; default: that of ``x``.
    """
    x = np.asarray(x, dtype=dtype)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
