"""What `identity --gen` draws: methods, prompts and what is shown, checked before any data is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.errors import SettingError
from recsim_gen.experiments.subjects.designs import BOUTIQUE
from recsim_gen.experiments.subjects.drawing import draw_subjects, read_subject_methods, taught
from recsim_gen.experiments.subjects.galleries import is_boutique, open_others
from recsim_gen.experiments.subjects.prompts import read_prompts
from recsim_gen.experiments.subjects.splitting import all_subjects, split_subjects
from recsim_gen.metrics.identity.queries import RESERVED
from recsim_gen.models.family import open_family

if TYPE_CHECKING:
    from recsim_gen.core.protocols import SubjectGenerator
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Subject
    from recsim_gen.datasets.gallery import Gallery


@dataclass(frozen=True)
class SubjectPlan:
    """Methods by label, untrained, and what they draw by.

    ``images`` of each identity are shown to them; ``noun`` is what subjects are called, "" for the name of
    their group; ``groups`` are those of the gallery that are taken; ``others`` is a gallery that adapters
    learn from, None for the shop's; ``remark`` is one on the models.
    """

    methods: dict[str, SubjectGenerator]
    prompts: tuple[str, ...]
    images: int
    noun: str
    groups: tuple[str, ...]
    others: Path | None
    remark: str | None

    @classmethod
    def read(
        cls,
        gen: tuple[str, ...],
        *,
        gallery: Path,
        models: str,
        device: str,
        prompts: str = "",
        images: int = 5,
        noun: str = "",
        groups: tuple[str, ...] = (),
        others: Path | None = None,
    ) -> SubjectPlan:
        """The plan of these options; reads no data.

        Raises SettingError for what cannot be, MissingDependency for models whose files are not there.
        """
        family = open_family(models)
        methods = read_subject_methods(gen, family, device)
        shop = is_boutique(gallery)
        for label, method in methods.items():
            if label in RESERVED:
                raise SettingError(f"--gen: {label} means real pictures or chance here. Write NAME=METHOD")
            if method.learns_from_others and others is None and not shop:
                raise SettingError(
                    f"{label} has to learn from other subjects than those of the gallery: give them as "
                    "--others, or models that bring a trained adapter"
                )
        told = read_prompts(prompts or ("shop" if family.trained_on == BOUTIQUE else "scenes"))
        remark = family.unfamiliar(BOUTIQUE if shop else str(gallery))
        return cls(methods, told, images, noun, groups, others, remark)

    def split(self, gallery: Gallery, rng: Rng) -> tuple[list[Subject], Gallery]:
        """The subjects in the pictures that are shown, and the gallery of the others."""
        subjects, left = split_subjects(gallery, self.images, self.noun, rng)
        return subjects, gallery.at(left)

    def draw(self, subjects: list[Subject], output: Path, results: Results, *, seed: int) -> dict[str, Path]:
        """The folder of what each method drew; what it was shown and told is noted in ``results``."""
        others: list[Subject] = []
        if any(method.learns_from_others for method in self.methods.values()):
            others = all_subjects(open_others(self.others, self.groups), self.noun)
            results.note(f"adapters learned from {len(others):,} other subjects")
        results.note(
            f"{len(subjects):,} subjects, each drawn by {len(self.prompts)} prompts and shown in "
            f"{self.images} pictures that are not in the gallery"
        )
        if self.remark is not None:
            results.note(self.remark)
        return {
            label: draw_subjects(
                taught(method, others, seed), subjects, self.prompts, output / label, label=label, seed=seed
            )
            for label, method in self.methods.items()
        }
