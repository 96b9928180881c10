"""Map of the catalogue: items by the similarity of their images, with drawn images among them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen import __version__
from recsim_gen.core.store import cached_array, fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from recsim_gen.core.types import Episode

MOST = 2000
"""Most items on a map: of a larger catalogue those related to a person shown, and a random sample."""

NUMBERS = 50
"""Number of principal components for distances; more take time and change little."""

ROUNDS = 500
"""Iterations of the optimiser: half of scikit-learn's default, ten seconds for 2,000 items on a core."""

TILE, ACROSS = 32, 50
"""Side of an item's image in pixels, and images per row of the sprite sheet."""


@dataclass(frozen=True)
class EmbeddingMap:
    """Positions in [0, 1] of ``items`` (m, 2), and of each generator's images (people, 2).

    ``tiles`` is the data URI of the items' images, `ACROSS` per row; ``titles`` their titles; ``references``
    and ``histories`` are indices of items, for each person.
    """

    items: NDArray[Any]
    titles: Sequence[str]
    tiles: str
    drawn: Mapping[str, NDArray[Any]]
    references: Sequence[int]
    histories: Sequence[Sequence[int]]
    encoder: str

    @property
    def rows(self) -> int:
        """Number of rows of the sprite sheet."""
        return -(-len(self.items) // ACROSS)


def embedding_map(
    features: NDArray[Any],
    drawn: Mapping[str, NDArray[Any]],
    episodes: Sequence[Episode],
    picture: Callable[[int], Image.Image | None],
    titles: Sequence[str],
    encoder: str,
) -> EmbeddingMap:
    """Lay out items and drawn images together by t-SNE (van der Maaten and Hinton 2008) of their features.

    Parameters
    ----------
    features
        (n, d) features of the catalogue's images.
    drawn
        {generator: (B, d)} features of its image for each episode.
    episodes
        B episodes.
    picture
        Returns an item's own image, given its row.
    titles
        (n,) titles of the items.
    encoder
        Encoder of the features.

    Returns
    -------
    EmbeddingMap
        The map.
    """
    rows = _shown(len(features), episodes)
    at = {row: k for k, row in enumerate(rows.tolist())}
    placed = places(np.concatenate([features[rows], *drawn.values()]))
    ends = np.cumsum([len(rows), *map(len, drawn.values())])
    return EmbeddingMap(
        items=placed[: len(rows)],
        titles=[str(titles[row]) for row in rows],
        tiles=_sheet([picture(row) for row in rows.tolist()]),
        drawn={name: placed[a:b] for name, a, b in zip(drawn, ends[:-1], ends[1:], strict=True)},
        references=[at[e.reference] for e in episodes],
        histories=[[at[row] for row in e.history if row in at] for e in episodes],
        encoder=encoder,
    )


def places(features: NDArray[Any]) -> NDArray[Any]:
    """Return (n, 2) positions in [0, 1] that are near for similar features; deterministic and cached.

    Fewer than three points are placed in a row.
    """
    import sklearn

    n = len(features)
    if n < 3:
        return np.stack([np.linspace(0, 1, n), np.full(n, 0.5)], axis=1)
    key = fingerprint(__version__, sklearn.__version__, NUMBERS, ROUNDS, features)
    return cached_array("maps", key, lambda: _t_sne(features))


def _t_sne(features: NDArray[Any]) -> NDArray[Any]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(features)
    numbers = min(NUMBERS, *features.shape)
    main = PCA(numbers, svd_solver="randomized", random_state=0).fit_transform(features.astype(np.float32))
    start = 1e-4 * np.pad(main, ((0, 0), (0, 1)))[:, :2] / (main[:, 0].std() or 1)
    start += 1e-6 * np.random.default_rng(0).normal(
        size=start.shape
    )  # equal images must not have equal positions
    arguments = {"init": start.astype(np.float32), "max_iter": ROUNDS, "random_state": 0, "n_jobs": 1}
    placed = TSNE(2, perplexity=min(30.0, (n - 1) / 3), **arguments).fit_transform(main)
    low, high = placed.min(0), placed.max(0)
    return np.asarray((placed - low) / np.where(high > low, high - low, 1))


def _shown(n: int, episodes: Sequence[Episode]) -> NDArray[Any]:
    """Return the rows of the items on the map; all of a small catalogue."""
    if n <= MOST:
        return np.arange(n)
    references = {e.reference for e in episodes}
    near = [row for e in episodes for row in reversed(e.history)]  # the latest are kept longest
    order = [*references, *near, *np.random.default_rng(0).permutation(n).tolist()]
    return np.sort(list(dict.fromkeys(order))[:MOST])


def _sheet(pictures: Sequence[Image.Image | None]) -> str:
    """Return a sprite sheet of the images as a data URI."""
    from PIL import Image, ImageOps

    sheet = Image.new("RGB", (ACROSS * TILE, -(-len(pictures) // ACROSS) * TILE), "white")
    for k, picture in enumerate(pictures):
        if picture is not None:
            small = ImageOps.pad(picture.convert("RGB"), (TILE, TILE), color="white")
            sheet.paste(small, (k % ACROSS * TILE, k // ACROSS * TILE))
    content = io.BytesIO()
    sheet.save(content, format="jpeg", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
