"""Rankers as metrics of pictures: ΔR and ΔMRR of each picture under each judge.

The first judge is the one whose score was the reward; the others are held out. ``delta_r[held-out]`` is
the mean over these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.types import Scope
from recsim_gen.judging.queries import Triples, ask
from recsim_gen.metrics.delta_rank import METRICS, per_sample
from recsim_gen.metrics.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Catalog, Interactions
    from recsim_gen.metrics.recipes import Metric
    from recsim_gen.metrics.rows import Rows

HELD_OUT = "held-out"


class Judge:
    """A ranker that is asked about each set of rows once, however many metrics ask it.

    ``encoder`` is that of the catalogue's image features (``encode_images``).
    """

    def __init__(self, name: str, ranker: Ranker, encoder: Any, *, scope: Scope = "graph") -> None:
        self.name, self.ranker, self.scope = name, ranker, scope
        self._encoder = encoder
        self._last: tuple[Rows, pd.DataFrame] | None = None

    def samples(self, rows: Rows) -> pd.DataFrame:
        """One line per row, as `delta_rank.per_sample` gives it."""
        if self._last is None or self._last[0] is not rows:
            x = rows.store.images(self._encoder, rows.image)
            asked = Triples(rows.get("user"), rows.get("item"), np.arange(len(rows)), x)
            self._last = rows, per_sample(ask(self.ranker, asked, scope=self.scope, what=self.name))
        return self._last[1]


class JudgeMetric:
    """``delta_r[JUDGE]``, ``delta_mrr[JUDGE]`` or ``improved[JUDGE]``; of several judges the mean."""

    needs: tuple[str, ...] = ("user", "item")
    higher_is_better: bool | None = True

    def __init__(
        self, measure: str, name: str, judges: Sequence[Judge], n_items: int, *, held_out: bool
    ) -> None:
        self.name, self.judge, self.held_out = f"{measure}[{name}]", name, held_out
        self.unit = {"delta_r": "of (old rank - new rank) / (1 + old rank)"}.get(measure, "")
        self.range = {"delta_r": (-n_items / 2, 1.0), "delta_mrr": (-1.0, 1.0)}.get(measure, (0.0, 1.0))
        self.scope = judges[0].scope
        self._measure, self._judges = measure, judges
        self.recipe = Recipe(
            backbone=", ".join(judge.name for judge in judges),
            weights=", ".join(judge.ranker.fingerprint for judge in judges),
            resize="as the catalogue's image encoder prepares pictures",
            note=f"substitution, scope {self.scope}; each picture alone in the unchanged catalogue",
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """(B,)."""
        found = [judge.samples(rows)[self._measure].to_numpy(np.float64) for judge in self._judges]
        return np.mean(found, axis=0)


def judge_metrics(
    measures: Sequence[str], rankers: Mapping[str, Ranker], encoder: Any, n_items: int, *, scope: Scope
) -> list[Metric]:
    """Each measure by the judge that gave the reward, the mean of the held-out ones, and each of these.

    ``rankers`` {name: ranker}, the first is the one of the reward. One held-out judge is its own mean.
    """
    for measure in measures:
        if measure not in METRICS:
            raise SettingError(f"judges give {', '.join(METRICS)}, got {measure!r}")
    judges = [Judge(name, ranker, encoder, scope=scope) for name, ranker in rankers.items()]
    reward, *others = judges
    groups = {reward.name: [reward], **({HELD_OUT: others} if len(others) > 1 else {})}
    groups |= {judge.name: [judge] for judge in others}
    return [
        JudgeMetric(measure, name, group, n_items, held_out=name != reward.name)
        for measure in measures
        for name, group in groups.items()
    ]


def open_judges(
    folders: Sequence[Path],
    names: Sequence[str],
    settings: Mapping[str, Any] | None,
    catalog: Catalog,
    interactions: Interactions,
    *,
    device: str,
    results: Results,
) -> dict[str, Ranker]:
    """Rankers from checkpoints; without any, ``NAME-seedN`` trained here (or found, if trained before).

    Whether those of checkpoints look at images is asked by `reward_ranker.check_rankers`; that nobody
    asked it of the others goes into the results' notes, and all fingerprints into the results.
    """
    from recsim_gen.artifacts.checkpoints import judge_names, load_ranker
    from recsim_gen.artifacts.trained_rankers import trained_ranker
    from recsim_gen.judging.modality_use import gate

    found: dict[str, Ranker] = {}
    for name, folder in zip(judge_names(folders) if folders else (), folders, strict=True):
        found[name] = load_ranker(folder, catalog, interactions, device=device)
    for name in () if folders else names:
        spec, seed = seeded_name(name)
        results.note(str(gate(None, name)))
        found[name] = trained_ranker(spec, settings, catalog, interactions, seed=seed, device=device)
    results.fingerprints.update({f"ranker {name}": ranker.fingerprint for name, ranker in found.items()})
    return found


def seeded_name(name: str) -> tuple[str, int]:
    """``micro-seed1`` is the ranker ``micro`` trained with seed 1. Raises SettingError for another form."""
    found = re.fullmatch(r"(.+)-seed(\d+)", name)
    if found is None:
        raise SettingError(f"a judge is NAME-seedN, such as micro-seed1, got {name!r}")
    return found[1], int(found[2])
