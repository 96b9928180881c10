"""Identity as one encoder measures it: each method, the ceiling and the floor, as rows and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.statistics import Estimate, bootstrap_columns
from recsim_gen.core.types import ImageReader
from recsim_gen.datasets.gallery import Gallery
from recsim_gen.encoders.features import encode_reader
from recsim_gen.metrics.identity.matching import METRICS, Axis, Labelled, ablate, match, random_features
from recsim_gen.metrics.identity.queries import RANDOM, REAL, Queries, Split

if TYPE_CHECKING:
    import pandas as pd

OVERALL = "overall"
NOISE = "random features"
"""Name in place of an encoder for random features."""

NOISE_QUERIES = 200  # queries per draw: further ones would share its gallery and add little


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Encoded images of one method or of a gallery, with their ``files`` (k,) str; ``own`` as for `match`.

    Image k is row ``rows[k]`` of ``reader``.
    """

    points: Labelled
    files: np.ndarray
    reader: ImageReader
    rows: np.ndarray
    own: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Smaller:
    """Smaller galleries to evaluate: images per identity, numbers of identities, draws of each."""

    images: tuple[int, ...] = ()
    identities: tuple[int, ...] = ()
    draws: int = 5


def encode_images(
    gallery: Gallery, sources: Sequence[Queries], split: Split, encoder: str, *, device: str = "cpu"
) -> tuple[dict[str, EncodedImages], EncodedImages]:
    """Return {method: its images}, including ``real`` if it has queries, and the images to be found.

    The identities of ``sources`` are all in ``gallery``. Raises DataError if there are no queries, and as
    `encode_reader` does.
    """
    reader, ids = gallery.catalog.images, gallery.catalog.item_ids
    assert reader is not None  # a gallery has pictures
    x = encode_reader(reader, encoder, device=device)

    def real(rows: np.ndarray, own: np.ndarray | None = None) -> EncodedImages:
        """Return the encoded images ``rows`` of the gallery."""
        points = Labelled(x[rows], gallery.identity[rows], gallery.group[rows])
        return EncodedImages(points, ids[rows], reader, rows, own)

    group_of = dict(zip(gallery.identity.tolist(), gallery.group.tolist(), strict=True))
    queries: dict[str, EncodedImages] = {}
    for source in sources:
        if not len(source):
            continue
        features = encode_reader(source.reader, encoder, device=device)
        group = np.array([group_of[name] for name in source.identity.tolist()], dtype=str)
        for method in dict.fromkeys(source.method.tolist()):
            rows = np.flatnonzero(source.method == method)
            points = Labelled(features[rows], source.identity[rows], group[rows])
            queries[method] = EncodedImages(points, source.files[rows], source.reader, rows)
    if len(split.real):
        queries[REAL] = real(split.real, split.own)
    if not queries:
        raise DataError(
            "images that ask the gallery are wanted, got none",
            remedy="Give queries, or a gallery with 2 or more pictures of an identity",
        )
    return queries, real(split.gallery)


def measure(
    queries: Mapping[str, EncodedImages],
    gallery: EncodedImages,
    results: Results,
    *,
    encoder: str,
    smaller: Smaller | None = None,
    rng: Rng,
) -> pd.DataFrame:
    """Add the metrics of each method in ``queries``, by group and overall; return one row per image.

    Metrics are those of `match`, averaged over images, with an interval that resamples identities; for
    ``smaller`` galleries ``map_by_images`` etc. with the number in ``size``. The table returned has the
    columns ``method``, ``file``, ``identity``, ``group``, ``encoder`` and the metrics.
    """
    import pandas as pd

    smaller, tables = smaller or Smaller(), []
    for method, one in queries.items():
        table = match(one.points, gallery.points, own=one.own)
        _by_group(results, method, table, encoder, rng)
        ablations: dict[Axis, tuple[int, ...]] = {"images": smaller.images, "identities": smaller.identities}
        for by, sizes in ablations.items():
            if sizes:
                by_size = ablate(
                    one.points, gallery.points, by, sizes, rng=rng, draws=smaller.draws, own=one.own
                )
                _by_size(results, method, by_size, by, encoder, rng)
        tables.append(table.assign(method=method, file=one.files, encoder=encoder))
    columns = ["method", "file", "identity", "group", "encoder", *METRICS]
    return pd.concat(tables, ignore_index=True)[columns]


def measure_noise(
    queries: EncodedImages, gallery: EncodedImages, results: Results, *, rng: Rng, draws: int = 20
) -> None:
    """Add rows of the variant ``random``: random features, and a verdict whether they match chance.

    Each of ``draws`` has its own features for the gallery and for at most ``NOISE_QUERIES`` queries. The
    queries of one draw share the gallery's features, so the interval resamples draws, not identities.
    """
    import pandas as pd

    tables = []
    for draw in range(draws):
        stream = rng.for_("noise", draw)
        rows = stream.numpy().permutation(len(queries))[:NOISE_QUERIES]
        points, shown = random_features(queries.points.at(rows), gallery.points, stream)
        table = match(points, shown, own=None if queries.own is None else queries.own[rows])
        tables.append(table.assign(identity=f"draw {draw}"))
    (precision, chance, *_) = _by_group(results, RANDOM, pd.concat(tables), NOISE, rng)
    inside = "within" if precision.low <= chance.value <= precision.high else "outside"
    results.verdict(
        "chance",
        f"random features give {precision.value:.3f} [{precision.low:.3f}, {precision.high:.3f}]; "
        f"chance, {chance.value:.3f}, is {inside} the interval (it is within in 19 of 20 such runs)",
    )


def judge_methods(results: Results, encoder: str) -> None:
    """Add a verdict on each method: whether it is above chance, and how close to real images."""
    overall = {
        row["variant"]: row
        for row in results.rows
        if row["metric"] == "map" and row["encoder"] == encoder and row["group"] == OVERALL
    }
    chance = {
        row["variant"]: row["value"]
        for row in results.rows
        if row["metric"] == "chance" and row["encoder"] == encoder and row["group"] == OVERALL
    }
    real = overall.get(REAL)
    sighted = real is not None and _above(real, chance[REAL])
    if real is not None and not sighted:
        results.verdict(
            f"ceiling ({encoder})",
            f"undecided: real pictures are not told apart ({_cell(real)}, chance {chance[REAL]:.3f}), "
            "so this encoder cannot judge identity here",
        )
    for method, row in overall.items():
        if method == REAL:
            continue
        text = "above chance" if _above(row, chance[method]) else "not above chance"
        text += f": mAP {_cell(row)}, chance {chance[method]:.3f}"
        if real is not None and sighted:
            share = (row["value"] - chance[method]) / (real["value"] - chance[REAL])
            text += f"; {share:.0%} of the way from chance to real pictures ({real['value']:.3f})"
        results.verdict(f"{method} ({encoder})", text)


def _by_group(
    results: Results, method: str, table: pd.DataFrame, encoder: str, rng: Rng
) -> Sequence[Estimate]:
    """Add rows for each group, if there are several, and overall; return the overall estimates."""
    groups = {str(name): part for name, part in table.groupby("group", sort=True)}
    for group, part in groups.items() if len(groups) > 1 else ():
        add_rows(results, method, part, rng, encoder=encoder, group=group)
    return add_rows(results, method, table, rng, encoder=encoder, group=OVERALL)


def _by_size(results: Results, method: str, table: pd.DataFrame, by: Axis, encoder: str, rng: Rng) -> None:
    for size in sorted(set(table["size"].tolist())):
        part = table[table["size"] == size]
        add_rows(results, method, part, rng, f"_by_{by}", encoder=encoder, group=OVERALL, size=size)


def add_rows(
    results: Results, method: str, table: pd.DataFrame, rng: Rng, suffix: str = "", **labels: Any
) -> Sequence[Estimate]:
    """Add a row per metric, its name with ``suffix``; return the estimates in the order of `METRICS`."""
    estimates = bootstrap_columns(table[[*METRICS]].to_numpy(), table["identity"].to_numpy(), rng)
    for metric, e in zip(METRICS, estimates, strict=True):
        # The chance level is known exactly: no interval.
        low, high = (None, None) if metric.endswith("chance") else (e.low, e.high)
        name = metric + suffix
        results.row(variant=method, metric=name, value=e.value, low=low, high=high, n=e.n, **labels)
    return estimates


def _above(row: Mapping[str, float], chance: float) -> bool:
    low = row["low"]
    return low is not None and low > chance


def _cell(row: Mapping[str, float | None]) -> str:
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval}"
