"""Exports a trained generator to a folder for other libraries: models in their formats, and a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen import __version__
from recsim_gen.artifacts.trained_generators import check_choice, generator_name, make_generator
from recsim_gen.core.errors import SettingError
from recsim_gen.core.protocols import ExportedPart, Exporting
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.core.store import atomic
from recsim_gen.models.checkpoint import is_folder

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.types import Dataset
    from recsim_gen.models.family import ModelFamily

CARD = "README.md"

LICENCES = {
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    "CreativeML Open RAIL-M": "creativeml-openrail-m",
    "Llama 2 Community License": "llama2",
}
"""Hub identifiers of the licences that families name."""


def check_export(spec: GeneratorSpec | None, checkpoint: Path, family: ModelFamily) -> GeneratorSpec:
    """Return the spec of the generator in the checkpoint, without reading data.

    Raises DataError if the folder is not a checkpoint, SettingError if the generator has nothing to export.
    """
    check_choice(spec, checkpoint, models=family)
    spec = spec or GeneratorSpec(generator_name(checkpoint))
    made = make_generator(GeneratorSpec(spec.name), models=family, device="cpu")
    if not made.learns:
        raise SettingError(f"{spec.name} learned nothing of its own: there is nothing to export")
    if not isinstance(made, Exporting):
        raise SettingError(f"{spec.name} has no method `export`: recsim_gen.core.protocols.Exporting")
    return spec


def export_generator(
    spec: GeneratorSpec, checkpoint: Path, dataset: Dataset, folder: Path, *, family: ModelFamily
) -> Sequence[ExportedPart]:
    """Write a trained generator and its model card into a new folder, atomically.

    Parameters
    ----------
    spec
        Name and settings of the generator.
    checkpoint
        Folder of the trained generator.
    dataset
        Data set that it was trained on.
    folder
        Folder to create.
    family
        Models that it was trained with.

    Returns
    -------
    sequence of ExportedPart
        What was written.

    Raises
    ------
    DataError
        If the checkpoint belongs to other data or models.
    """
    generator_class = resolve(spec.name, GENERATORS, GeneratorSpec.what)
    generator = generator_class.load(checkpoint, dataset.catalog, models=family, device="cpu")
    with atomic(folder) as temporary:
        temporary.mkdir()
        parts = generator.export(temporary, dataset.interactions.user_ids.tolist())
        card = model_card(generator, parts, dataset.name, family)
        (temporary / CARD).write_text(card, encoding="utf-8")
    return parts


def model_card(generator: Generator, parts: Sequence[ExportedPart], data: str, family: ModelFamily) -> str:
    """Return the model card: content of the folder, loading code, and base models, with the hub's header."""
    rows = [f"| `{part.name}` | {part.what} |" for part in parts]
    code = [f"```python\n{part.load}\n```" for part in parts if part.load]
    settings = json.dumps(asdict(generator.config), indent=2, ensure_ascii=False, default=str)
    return "\n".join(
        [
            f"---\n{_head(generator, family)}\n---\n",
            f"# {generator.name}, trained on {data}\n",
            f"Written by recsim-gen {__version__}, which extracts preferences to condition these models.",
            "They were trained on histories of people: check whether you may publish them.\n",
            "## Files\n\n| file | what it is |\n|---|---|",
            *rows,
            "\n## Loading\n\nIn this folder:\n",
            *code,
            "\n## Base models\n\n| part | model | licence |\n|---|---|---|",
            *(_row(role, family) for role in generator.roles),
            f"\n## Settings\n\n```json\n{settings}\n```\n",
        ]
    )


def _row(role: str, family: ModelFamily) -> str:
    """Return a row of the table of models; for a local folder only its last name."""
    checkpoint = family.checkpoint(role)
    name = Path(checkpoint.name).name if is_folder(checkpoint.name) else checkpoint.name
    return f"| {role.replace('_', ' ')} | {name} | {checkpoint.licence} |"


def _head(generator: Generator, family: ModelFamily) -> str:
    """Return the YAML header of the card, with the licence of the diffusion model."""
    from huggingface_hub import ModelCardData

    models = [family.checkpoint(role) for role in generator.roles]
    licence = family.checkpoint("diffusion").licence
    licence_name = LICENCES.get(licence)
    head = ModelCardData(
        license=licence_name or "other",
        license_name=None if licence_name else licence,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["recsim-gen", generator.name, "personalisation"],
        base_model=sorted({m.name for m in models if not is_folder(m.name)}) or None,
    )
    return head.to_yaml().strip()
