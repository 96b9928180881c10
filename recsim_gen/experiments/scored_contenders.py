"""Every contender's pictures of the same episodes, drawn or found, and what each metric says of each.

The same as the middle of ``python -m recsim_gen.evaluate``, from Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.artifacts.drawn_images import pictures_for
from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import this_process
from recsim_gen.core.progress import say
from recsim_gen.datasets.image_sets import ANY, ImageSet, read_images
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.rows import rows_of_files
from recsim_gen.metrics.scoring import score_images

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Dataset, Episode
    from recsim_gen.experiments.contenders import Contender
    from recsim_gen.metrics.recipes import Metric

FIELDS = ("user", "item", "target_text", "history_text")
PICTURE_FIELDS = ("target", "history")


def known_fields(dataset: Dataset) -> tuple[str, ...]:
    """What metrics can be told of the pictures here (see `metrics.rows.MEANING`)."""
    return FIELDS if dataset.catalog.images is None else (*FIELDS, *PICTURE_FIELDS)


def score_contenders(
    lines: Sequence[Contender],
    opened: Callable[[Contender, int], Generator],
    metrics: Sequence[Metric],
    dataset: Dataset,
    episodes: Sequence[Episode],
    results: Results,
    *,
    seeds: Sequence[int],
    history: int = 0,
) -> pd.DataFrame:
    """One row per contender, seed and episode: the labels of `metrics.rows`, then a column per metric.

    Parameters
    ----------
    lines: whose pictures; those that were brought have one seed, 0.
    opened: the generator of a contender for a seed, ready to draw.
    metrics: features are made once for all of them and for all contenders.
    dataset, episodes: which of its test episodes; their pictures are drawn once for all commands.
    results: gets fingerprints, and notes on pictures that were brought.
    seeds: of the noise.
    history: how many items of each history to compare with, the last ones; 0: all.

    Raises DataError for pictures that cannot be used.
    """
    import pandas as pd

    asked = replace(dataset, episodes=tuple(episodes))
    store = FeatureStore(Album())
    frames = []
    for line in sorted(
        lines, key=lambda line: line.images is None
    ):  # what can be wrong before what takes long
        for seed in (0,) if line.images is not None else seeds:
            say(f"{line.label}, seed {seed}")
            pictures = _pictures(line, opened, asked, seed, results)
            rows = rows_of_files(asked, pictures, line.label, history=history or None, store=store)
            frames.append(score_images(rows, metrics).assign(seed=seed))
    place = {line.label: k for k, line in enumerate(lines)}
    whole = pd.concat(frames, ignore_index=True)
    return whole.sort_values("variant", key=lambda v: v.map(place), kind="stable", ignore_index=True)


def draw_shares(
    lines: Sequence[Contender],
    opened: Callable[[Contender, int], Generator],
    dataset: Dataset,
    episodes: Sequence[Episode],
    *,
    seeds: Sequence[int],
    retrain: bool,
) -> None:
    """Each of several processes trains and draws a share of what `score_contenders` then finds.

    A generator that draws for several seeds (``retrain`` false) is one process's affair.
    """
    process = this_process()
    if process.num_processes == 1:
        return
    asked = replace(dataset, episodes=tuple(episodes))
    groups = [[seed] for seed in seeds] if retrain else [[*seeds]]
    work = [(line, group) for line in lines if line.images is None for group in groups]
    for line, group in work[process.process_index :: process.num_processes]:
        for seed in group:
            pictures_for(opened(line, seed), asked, episodes, seed=seed)
    process.wait_for_everyone()


def _pictures(
    line: Contender,
    opened: Callable[[Contender, int], Generator],
    asked: Dataset,
    seed: int,
    results: Results,
) -> ImageSet:
    if line.images is not None:
        return _brought(line.label, line.images, asked, results)
    generator = opened(line, seed)
    results.fingerprints[f"{line.label} seed {seed}"] = generator.fingerprint
    return read_images(pictures_for(generator, asked, asked.episodes, seed=seed), asked)


def _brought(label: str, folder: Path, asked: Dataset, results: Results) -> ImageSet:
    """Those of the asked episodes; how many episodes they are of is noted."""
    found = read_images(folder, asked)
    results.fingerprints[label] = found.pictures.fingerprint
    for note in found.notes:
        results.note(f"{label}: {note}")
    pairs = {(e.user, e.reference) for e in asked.episodes}
    mine = zip(found.user.tolist(), found.item.tolist(), strict=True)
    kept = np.array([user == ANY or (user, item) in pairs for user, item in mine])
    if not kept.any():
        remedy = "Give pictures of test references, or more --episodes (0 is all)"
        raise DataError("none of the pictures is of an episode asked about", file=folder, remedy=remedy)
    if not kept.all():
        results.note(f"{label}: {(~kept).sum():,} of {len(kept):,} pictures are of no episode asked about")
    chosen = found.only(np.flatnonzero(kept))
    covered = len(chosen.pairs(asked)[0])
    if covered < len(asked.episodes):
        results.note(f"{label}: pictures of {covered:,} of {len(asked.episodes):,} episodes")
    return chosen
