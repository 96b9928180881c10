"""Judges: trained rankers under the names that results give them, trained here or read from a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.artifacts.checkpoints import load_ranker, ranker_name
from recsim_gen.artifacts.trained_rankers import make_ranker, trained_ranker
from recsim_gen.core.errors import SettingError
from recsim_gen.judging.verdicts import gate, stored

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.specs import JudgeSpec
    from recsim_gen.core.types import Catalog, Interactions

_SEEDED = re.compile(r"(.+)-seed(\d+)")  # as train_ranker names the folders that it writes


@dataclass(frozen=True)
class Judge:
    """A trained ranker that judges images.

    Parameters
    ----------
    name
        What the seeds of one kind of judge share: ``micro``. Their ΔR is averaged per query.
    seed
        Seed of the training; None where it is not known.
    ranker
        What is asked.
    """

    name: str
    seed: int | None
    ranker: Ranker

    @property
    def label(self) -> str:
        """The judge's own name in tables: ``micro-seed0``, or the name alone without a seed."""
        return self.name if self.seed is None else f"{self.name}-seed{self.seed}"


def judge_labels(judges: Sequence[JudgeSpec]) -> list[str]:
    """Label of each judge: its name, or its folder's with as many parents as tell all apart.

    Raises SettingError where one is given twice.
    """
    parts = [(spec.name,) if spec.folder is None else spec.folder.resolve().parts for spec in judges]
    deepest = max(map(len, parts), default=1)
    for depth in range(1, 1 + deepest):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    twice = next(label for label in labels if labels.count(label) > 1)
    raise SettingError(f"each of --judges must be given once, got {twice} twice")


def check_judges(judges: Sequence[JudgeSpec], *, force: bool) -> list[str]:
    """Return what readers of the judges' numbers must know; read no data.

    Raises DataError for a folder that is no checkpoint, and SettingError for an unknown ranker or
    setting, for one judge twice, and, unless ``force``, for a ranker whose training showed that it does
    not use images. That this was not tested of rankers that are trained here, `open_judges` notes.
    """
    notes: list[str] = []
    for label, spec in zip(judge_labels(judges), judges, strict=True):
        if spec.folder is None:
            make_ranker(spec.ranker)
        else:
            ranker_name(spec.folder)
            notes += gate(stored(spec.folder), label, force=force)
    return notes


def open_judges(
    judges: Sequence[JudgeSpec],
    catalog: Catalog,
    interactions: Interactions,
    *,
    device: str = "cpu",
    results: Results,
) -> list[Judge]:
    """Load the judges that are folders, and train the others here, or load them if trained before.

    The fingerprint of each is added to ``results``, and a note for each that is trained here: nobody
    tested whether it looks at images (`check_judges` does that for folders).
    """
    opened = []
    for label, spec in zip(judge_labels(judges), judges, strict=True):
        if spec.folder is None:
            for note in gate({}, label):
                results.note(note)
            seed = spec.seed
            ranker = trained_ranker(spec.ranker, catalog, interactions, seed=seed, device=device)
            judge = Judge(spec.ranker.name, seed, ranker)
        else:
            judge = loaded_judge(spec.folder, catalog, interactions, label=label, device=device)
        results.fingerprints[f"ranker {judge.label}"] = judge.ranker.fingerprint
        opened.append(judge)
    return opened


def loaded_judge(
    folder: Path,
    catalog: Catalog,
    interactions: Interactions,
    *,
    label: str | None = None,
    device: str = "cpu",
) -> Judge:
    """Load the ranker that train_ranker wrote into ``folder`` (``NAME-seedN``).

    ``label`` (default: the folder's name) ends in the folder's name. Raises DataError for other data than
    the ranker was trained on.
    """
    label = folder.resolve().name if label is None else label
    named = _SEEDED.fullmatch(label)
    ranker = load_ranker(folder, catalog, interactions, device=device)
    return Judge(named[1], int(named[2]), ranker) if named else Judge(label, None, ranker)
