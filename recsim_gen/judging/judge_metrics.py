"""Rankers as metrics of images: ΔR and ΔMRR of each image under each judge.

Judges that gave a reward come first; the others are held out, and ``delta_r[held-out]`` is their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.types import Scope
from recsim_gen.judging.queries import MODALITY, Triples, ask
from recsim_gen.metrics.delta_rank import METRICS, per_sample
from recsim_gen.metrics.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import ImageEncoder
    from recsim_gen.judging.judges import Judge
    from recsim_gen.metrics.recipes import Metric
    from recsim_gen.metrics.rows import Rows

HELD_OUT = "held-out"


class JudgedRows:
    """A judge's answers for sets of rows; each set is evaluated once, however many metrics need it.

    ``encoder`` is that of the judge's image features.
    """

    def __init__(self, judge: Judge, encoder: ImageEncoder, *, scope: Scope = "graph") -> None:
        self.judge, self.scope = judge, scope
        self._encoder = encoder
        self._last: tuple[Rows, pd.DataFrame] | None = None

    def samples(self, rows: Rows) -> pd.DataFrame:
        """Return one line per row, as from `delta_rank.per_sample`."""
        if self._last is None or self._last[0] is not rows:
            x = rows.store.images(self._encoder, rows.image)
            triples = Triples(rows.get("user"), rows.get("item"), np.arange(len(rows)), x)
            answers = ask(self.judge.ranker, triples, scope=self.scope, what=self.judge.label)
            self._last = rows, per_sample(answers)
        return self._last[1]


class JudgeMetric:
    """``delta_r[JUDGE]``, ``delta_mrr[JUDGE]`` or ``improved[JUDGE]``; the mean of several judges."""

    needs: tuple[str, ...] = ("user", "item")
    higher_is_better: bool | None = True

    def __init__(self, measure: str, name: str, judged: Sequence[JudgedRows], *, held_out: bool) -> None:
        n_items = len(judged[0].judge.catalog)
        self.name, self.judge, self.held_out = f"{measure}[{name}]", name, held_out
        self.unit = {"delta_r": "of (old rank - new rank) / (1 + old rank)"}.get(measure, "")
        self.range = {"delta_r": (-n_items / 2, 1.0), "delta_mrr": (-1.0, 1.0)}.get(measure, (0.0, 1.0))
        self.scope = judged[0].scope
        self._measure, self._judged = measure, judged
        self.recipe = Recipe(
            backbone=", ".join(each.judge.label for each in judged),
            weights=", ".join(each.judge.ranker.fingerprint for each in judged),
            resize="as the judge's image encoder prepares pictures",
            note=f"substitution, scope {self.scope}; each picture alone in the unchanged catalogue",
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) values."""
        values = [each.samples(rows)[self._measure].to_numpy(np.float64) for each in self._judged]
        return np.mean(values, axis=0)


def judge_metrics(
    measures: Sequence[str],
    judges: Sequence[Judge],
    rewarding: Collection[str],
    encoder: Callable[[str], ImageEncoder],
    *,
    scope: Scope,
) -> list[Metric]:
    """Return each measure by each rewarding judge, by the mean of the held-out judges, and by each of those.

    Parameters
    ----------
    measures
        ``delta_r``, ``delta_mrr``, ``improved``.
    judges
        All judges.
    rewarding
        Labels of the judges that gave a reward. A single held-out judge is its own mean.
    encoder
        Returns the encoder of a name as for --encoders.image.
    scope
        As for `Ranker.substitute`.

    Returns
    -------
    list of Metric
        The metrics in this order.

    Raises
    ------
    DataError
        If a judge's catalogue does not record its encoder.
    """
    for measure in measures:
        if measure not in METRICS:
            raise SettingError(f"judges give {', '.join(METRICS)}, got {measure!r}")
    judged = [JudgedRows(one, encoder(one.catalog.encoder_of(MODALITY)), scope=scope) for one in judges]
    rewards = {each.judge.label: [each] for each in judged if each.judge.label in rewarding}
    others = {each.judge.label: [each] for each in judged if each.judge.label not in rewarding}
    mean = {HELD_OUT: [each for (each,) in others.values()]} if len(others) > 1 else {}
    return [
        JudgeMetric(measure, name, group, held_out=name not in rewards)
        for measure in measures
        for name, group in {**rewards, **mean, **others}.items()
    ]
