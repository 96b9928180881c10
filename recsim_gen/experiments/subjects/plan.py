"""Plan of `identity --gen`: methods, prompts and images shown, checked before any data is read."""

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
    """Untrained methods by label, and their inputs.

    Parameters
    ----------
    images
        Number of images of each identity that the methods are given.
    noun
        Word for the subjects, "" for the name of their group.
    groups
        Groups of the gallery to use.
    others
        Gallery that adapters are trained on, None for the shop's.
    remark
        A remark on the models.
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
        """Return the plan for these options; reads no data.

        Raises SettingError for invalid options, MissingDependency for models whose files are missing.
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
        prompt_list = read_prompts(prompts or ("shop" if family.trained_on == BOUTIQUE else "scenes"))
        remark = family.unfamiliar(BOUTIQUE if shop else str(gallery))
        return cls(methods, prompt_list, images, noun, groups, others, remark)

    def split(self, gallery: Gallery, rng: Rng) -> tuple[list[Subject], Gallery]:
        """Return the subjects with the images that methods are given, and the gallery of the other images."""
        subjects, left = split_subjects(gallery, self.images, self.noun, rng)
        return subjects, gallery.at(left)

    def draw(self, subjects: list[Subject], output: Path, results: Results, *, seed: int) -> dict[str, Path]:
        """Return the folder of each method's images; its inputs are noted in ``results``."""
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
