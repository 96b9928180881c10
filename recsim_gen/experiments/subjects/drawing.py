"""Draws subjects by a method: an adapter is trained once, then each subject is fitted and drawn; cached."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.artifacts.drawn_images import as_image
from recsim_gen.core.errors import SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import SUBJECT_GENERATORS, did_you_mean, resolve
from recsim_gen.core.specs import SubjectGeneratorSpec
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.core.weights import read_tensors
from recsim_gen.experiments.methods import read_specs

if TYPE_CHECKING:
    from recsim_gen.core.protocols import SubjectGenerator
    from recsim_gen.core.types import Subject
    from recsim_gen.models.family import ModelFamily

BROUGHT = {
    "emu2": "no class of diffusers or transformers draws it (remote code, 37 B parameters, no licence on its "
    "card): draw with its own code and give --queries emu2=DIR",
}
"""Methods of the benchmark that can only be evaluated on existing images, and why."""

_NO_NAME = re.compile(r"[^\w -]")
"""Characters to avoid in names of folders."""


def read_subject_methods(
    words: Sequence[str], models: ModelFamily, device: str | None
) -> dict[str, SubjectGenerator]:
    """Return untrained methods by label: NAME, or LABEL=NAME:SETTING=VALUE,… as for generators of `evaluate`.

    Raises SettingError for an unknown name or setting and a repeated label, MissingDependency for models
    whose files are missing.
    """
    methods: dict[str, SubjectGenerator] = {}
    for word in words:
        if why := BROUGHT.get(word.partition(":")[0]):
            raise SettingError(f"{word}: {why}")
    for label, spec in read_specs(words, SubjectGeneratorSpec, SUBJECT_GENERATORS):
        if label in methods:
            raise SettingError(f"each method needs a name of its own, got {label} twice. Write NAME=METHOD")
        made = resolve(spec.name, SUBJECT_GENERATORS, spec.what)(
            models=models, device=device, **spec.settings
        )
        made.family.require(*made.roles)
        methods[label] = made
    if not methods:
        raise SettingError(f"--gen: a method is wanted, got none.{did_you_mean('', SUBJECT_GENERATORS)}")
    return methods


def taught(method: SubjectGenerator, others: Sequence[Subject], seed: int) -> SubjectGenerator:
    """Return the method trained on other subjects, or loaded if the same training was done before."""
    if not method.learns_from_others:
        return method
    key = fingerprint(method.fingerprint, [other.fingerprint for other in others], seed)
    folder = cache_dir() / "subject-methods"
    file = folder / f"{method.name}-{key}.safetensors"
    if file.exists():
        method.restore(read_tensors(file, remedy="Delete it; it is learned again"))
        return method
    from safetensors.torch import save_file

    method.learn(others, rng=Rng(seed), work=folder / key)
    with atomic(file) as temporary:
        save_file({name: x.contiguous() for name, x in method.weights().items()}, temporary)
    return method


def draw_subjects(
    method: SubjectGenerator,
    subjects: Sequence[Subject],
    prompts: Sequence[str],
    folder: Path,
    *,
    label: str,
    seed: int,
) -> Path:
    """Draw each subject for each prompt as ``folder/<n>-<subject>/<k>.png``; return ``folder``.

    ``pictures.csv`` lists the identity (file, identity) and the prompt of each image. The reference of each
    image is a random one of the subject's. Images are cached by content, so an interrupted run resumes, and
    another run only draws new ones.
    """
    shutil.rmtree(folder, ignore_errors=True)
    rows = []
    for n, subject in enumerate(bar(subjects, f"{label}: subjects", unit="subject")):
        key = fingerprint(method.fingerprint, subject.fingerprint, list(prompts), seed)
        kept = cache_dir() / "subjects" / key
        if not kept.is_dir():
            _draw(method, subject, prompts, kept, seed)
        place = f"{n:03d}-{_NO_NAME.sub('_', subject.name)}"
        shutil.copytree(kept, folder / place)
        rows += [(f"{place}/{k}.png", subject.name, prompt) for k, prompt in enumerate(prompts)]
    with (folder / "pictures.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "identity", "prompt"), *rows])
    return folder


def _draw(method: SubjectGenerator, subject: Subject, prompts: Sequence[str], kept: Path, seed: int) -> None:
    rng = Rng(seed)
    method.fit(subject, rng=rng, work=kept.parent / f"{kept.name}.training")
    stream = rng.for_("drawn", subject.name)
    references = stream.for_("reference").numpy().integers(len(subject), size=len(prompts)).tolist()
    requests = [
        (prompt, subject.images[row], stream.for_(k))
        for k, (prompt, row) in enumerate(zip(prompts, references, strict=True))
    ]
    pictures = method.draw_each(requests)
    with atomic(kept) as temporary:
        temporary.mkdir(parents=True)
        for k, pixels in enumerate(pictures):
            as_image(pixels.numpy()).save(temporary / f"{k}.png")
