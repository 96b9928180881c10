"""Images of each method for the same episodes, drawn here or loaded, and all metrics of them.

The core of ``python -m recsim_gen.evaluate``, for use from Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.artifacts.drawn_images import images_for
from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import this_process
from recsim_gen.core.progress import say
from recsim_gen.datasets.image_sets import ANY, ImageSet, read_images
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.copies import NO, CopyFinder, Thumbnails, counted
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.rows import rows_of_files
from recsim_gen.metrics.scoring import score_images

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset
    from recsim_gen.experiments.methods import Method
    from recsim_gen.metrics.recipes import Metric

FIELDS = ("user", "item", "target_text", "history_text", "prompt")
IMAGE_FIELDS = ("target", "history")

OpenMethod = Callable[["Method", int], "Generator"]
"""Returns a method's generator for a seed, ready to draw."""


def row_fields(dataset: Dataset) -> tuple[str, ...]:
    """Return the fields that rows have here besides the images (see `metrics.rows.MEANING`)."""
    return FIELDS if dataset.catalog.images is None else (*FIELDS, *IMAGE_FIELDS)


def score_methods(
    methods: Sequence[Method],
    open_method: OpenMethod,
    metrics: Sequence[Metric],
    dataset: Dataset,
    results: Results,
    *,
    seeds: Sequence[int],
    history: int = 0,
    keywords: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Return one row per method, seed and episode: the labels of `metrics.rows`, then a column per metric.

    If the catalogue has images, ``copy_of`` is the id of the item whose image was copied, "" for none, and
    ``results`` get the number of copies (see `metrics.copies`).

    Parameters
    ----------
    methods
        Methods to evaluate; images from files have a single seed, 0.
    open_method
        Returns the generator of a method for a seed.
    metrics
        Metrics; features are shared by all metrics and methods.
    dataset
        Its test episodes are used; their images are shared by all commands.
    results
        Receives fingerprints, and notes on images from files.
    seeds
        Seeds of the noise.
    history
        Number of history items to compare with, the latest ones; 0: all.
    keywords
        {episode id: keywords of the user's taste}, if a metric needs them.

    Raises
    ------
    DataError
        If images cannot be used.
    """
    import pandas as pd

    store = FeatureStore(Album())
    catalog = dataset.catalog
    finder = None if catalog.images is None else CopyFinder.of(catalog.images)
    frames = []
    for method in sorted(
        methods, key=lambda m: m.images is None
    ):  # files first: they may be wrong, and drawing takes long
        for seed in (0,) if method.images is not None else seeds:
            say(f"{method.label}, seed {seed}")
            images = _images(method, open_method, dataset, seed, results)
            rows = rows_of_files(
                dataset, images, method.label, history=history or None, keywords=keywords, store=store
            )
            frame = score_images(rows, metrics).assign(seed=seed)
            if finder is not None:
                copies = finder.find(store.images(Thumbnails(), rows.image), rows.get("item"))
                frame["copy_of"] = np.where(copies.row == NO, "", catalog.item_ids[copies.row])
            frames.append(frame)
    place = {method.label: k for k, method in enumerate(methods)}
    whole = pd.concat(frames, ignore_index=True)
    whole = whole.sort_values("variant", key=lambda v: v.map(place), kind="stable", ignore_index=True)
    if finder is not None:
        _say_copies(whole, methods, finder, results)
    return whole


def _say_copies(
    values: pd.DataFrame, methods: Sequence[Method], finder: CopyFinder, results: Results
) -> None:
    """Add a row and, if there are any, a verdict on the copies among each method's images."""
    free = []
    for method in methods:
        mine = values[values["variant"] == method.label]
        copied, own = mine["copy_of"] != "", mine["copy_of"] == mine["item"]
        results.row(
            variant=method.label,
            metric="catalogue_copies",
            value=float(copied.mean()),
            n=len(mine),
            seed=None,
        )
        if copied.any():
            text = counted(int(copied.sum()), int(own.sum()), len(mine))
            role = ", as is the role of a control" if method.role == "control" else ""
            results.verdict(f"{method.label}, copies", text + role)
        else:
            free.append(method.label)
    none = f"no picture of {', '.join(free)} is the catalogue's; " if free else ""
    results.note(f"{none}{finder.rule}")


def draw_shares(
    methods: Sequence[Method],
    open_method: OpenMethod,
    dataset: Dataset,
    *,
    seeds: Sequence[int],
    retrain: bool,
) -> None:
    """Draw, in each of several processes, a share of the images that `score_methods` then loads.

    The images of a generator with several seeds (``retrain`` false) are drawn by one process.
    """
    process = this_process()
    if process.num_processes == 1:
        return
    groups = [[seed] for seed in seeds] if retrain else [[*seeds]]
    work = [(method, group) for method in methods if method.images is None for group in groups]
    for method, group in work[process.process_index :: process.num_processes]:
        for seed in group:
            images_for(open_method(method, seed), dataset, dataset.episodes, seed=seed)
    process.wait_for_everyone()


def _images(
    method: Method, open_method: OpenMethod, dataset: Dataset, seed: int, results: Results
) -> ImageSet:
    if method.images is not None:
        return _brought(method.label, method.images, dataset, results)
    generator = open_method(method, seed)
    results.fingerprints[f"{method.label} seed {seed}"] = generator.fingerprint
    return read_images(images_for(generator, dataset, dataset.episodes, seed=seed), dataset)


def _brought(label: str, folder: Path, dataset: Dataset, results: Results) -> ImageSet:
    """Return the images of the test episodes; a note says how many episodes have one."""
    images = read_images(folder, dataset)
    results.fingerprints[label] = images.reader.fingerprint
    for note in images.notes:
        results.note(f"{label}: {note}")
    pairs = {(e.user, e.reference) for e in dataset.episodes}
    shown = zip(images.user.tolist(), images.item.tolist(), strict=True)
    kept = np.array([user == ANY or (user, item) in pairs for user, item in shown])
    if not kept.any():
        remedy = "Give pictures of test references, or more --episodes (0 is all)"
        raise DataError("none of the pictures is of an episode asked about", file=folder, remedy=remedy)
    if not kept.all():
        results.note(f"{label}: {(~kept).sum():,} of {len(kept):,} pictures are of no episode asked about")
    chosen = images.only(np.flatnonzero(kept))
    covered = len(chosen.pairs(dataset)[0])
    if covered < len(dataset.episodes):
        results.note(f"{label}: pictures of {covered:,} of {len(dataset.episodes):,} episodes")
    return chosen
