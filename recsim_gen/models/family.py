"""The models that generators are made of, by role; ``--models`` names a family of them.

``embedded`` (default) and ``paper`` are files beside this one; a folder that ``pretrain`` wrote and
a file of the reader's own are families as well. Nothing but the names, sizes and steps differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import this_process
from recsim_gen.core.registry import did_you_mean, with_settings
from recsim_gen.core.store import fingerprint
from recsim_gen.models.captioners import GIVEN, Captioner, Given, ImageCaptioner
from recsim_gen.models.checkpoint import Checkpoint, is_folder

if TYPE_CHECKING:
    import torch
    from diffusers import (
        DiffusionPipeline,
        StableDiffusionInstructPix2PixPipeline,
        StableDiffusionPipeline,
    )
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recsim_gen.encoders.huggingface import HuggingFace
    from recsim_gen.models.attribute_reader import ImageVerifier
    from recsim_gen.models.glide.pipeline import Glide

FAMILIES = {"embedded": "embedded.yaml", "paper": "paper.yaml"}

LAYOUT = {
    "text_encoder": "clip",
    "image_encoder": "clip",
    "language_model": "llm",
    "diffusion": "diffusion",
    "glide": "glide",
    "verifier": "verifier",
}
"""Role to sub-folder, in a folder that is a family by itself."""

FILE = "family.yaml"  # in such a folder: its own settings, instead of the layout and the defaults


@dataclass(frozen=True)
class Models:
    """Name of each model: a folder (``./…``, ``/…``, ``~…``) or a name on the hub; "" for none."""

    captioner: str = GIVEN
    text_encoder: str = ""
    image_encoder: str = ""
    language_model: str = ""
    diffusion: str = ""
    ip_adapter: str = ""
    lavit: str = ""
    glide: str = ""
    instruct_pix2pix: str = ""
    pipeline: str = ""
    controlnet: str = ""
    omini: str = ""
    verifier: str = ""


@dataclass(frozen=True)
class ModelFamily:
    """Names of models and how they draw; each is loaded when it is first asked for, then kept.

    Who changes a model (LoRA, an adapter) opens the family anew: what it gives is shared by all
    who hold it. Every loader takes ``device`` (None: Accelerate's choice) and, encoders apart,
    ``torch_dtype`` (None: ``dtype``), and raises MissingDependency where the files are not to be
    had, SettingError where the family names no such model.
    """

    name: str
    models: Models
    image_size: int = 0  # pixels a side; 0: what the diffusion model was trained at
    steps: int = 20  # of the sampler
    guidance: float = 2.0  # classifier-free; 1 is none
    batch: int = 8  # pictures drawn at a time, always so many: their last bits depend on it
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"  # of the weights; encoders have float32
    gradient_checkpointing: bool = False  # in training: a third more time, a fraction of the memory
    licences: Mapping[str, str] = field(default_factory=dict)  # by name, as in ``models``
    trained_on: str = ""  # the only data that its models know, by name; "": models of the world at large

    def __post_init__(self) -> None:
        for name, least in (("image_size", 0), ("steps", 1), ("guidance", 0), ("batch", 1)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise SettingError(f"{self.name} models: {name} must be {least} or more, got {value}")

    def captioner(self, *, device: str | None = None, torch_dtype: torch.dtype | None = None) -> Captioner:
        """Captions for pictures, or those that came with the catalogue."""
        if self.models.captioner == GIVEN:
            return Given()
        return self._load("captioner", ImageCaptioner, device, torch_dtype)

    def text_encoder(self, *, device: str | None = None) -> HuggingFace:
        """``encode_texts``: captions to vectors (B, d)."""
        return self._encoder("text_encoder", device)

    def image_encoder(self, *, device: str | None = None) -> HuggingFace:
        """``encode_images``: pictures to vectors (B, d)."""
        return self._encoder("image_encoder", device)

    def language_model(
        self, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """A causal language model and its tokenizer, which pads on the left."""
        from recsim_gen.models.language import load_language_model

        return self._load("language_model", load_language_model, device, torch_dtype)

    def diffusion(
        self, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> StableDiffusionPipeline:
        """The pipeline with the scheduler of its checkpoint: its settings belong to the weights."""
        from recsim_gen.models.diffusion import load_diffusion

        return self._load("diffusion", load_diffusion, device, torch_dtype)

    def glide(self, *, device: str | None = None, torch_dtype: torch.dtype | None = None) -> Glide:
        """Text to pictures by two nets in pixel space, each with a text transformer of its own."""
        from recsim_gen.models.glide.pipeline import load_glide

        return self._load("glide", load_glide, device, torch_dtype)

    def instruct_pix2pix(
        self, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> StableDiffusionInstructPix2PixPipeline:
        """What edits a picture by an instruction (Brooks et al. 2023)."""
        from recsim_gen.models.diffusion import load_instruct_pix2pix

        return self._load("instruct_pix2pix", load_instruct_pix2pix, device, torch_dtype)

    def pipeline(
        self, pipeline_class: Any, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> DiffusionPipeline:
        """Any pipeline of diffusers, as its class reads it."""
        from recsim_gen.models.diffusion import load_pipeline

        return self._load("pipeline", partial(load_pipeline, pipeline_class), device, torch_dtype)

    def verifier(self, *, device: str | None = None) -> ImageVerifier:
        """``read``: what a picture shows; only measures, never trains or chooses."""
        from recsim_gen.models.attribute_reader import ImageVerifier

        place = device or str(this_process().device)
        key = ("verifier", place)
        if key not in self._kept:
            self._kept[key] = self.checkpoint("verifier").load(ImageVerifier.from_pretrained).to(place)
        return self._kept[key]

    def release(self, role: str) -> None:
        """Let go of the model of a role, whose memory is free when nobody else holds it."""
        for key in [key for key in self._kept if key[0] == role]:
            del self._kept[key]

    def folder(self, role: str) -> Path:
        """Where the files of a role are (``ip_adapter``…), fetched if need be."""
        return self.checkpoint(role).folder()

    def require(self, *roles: str) -> None:
        """Raise what loading would, for files that are not to be had; for the start of a command."""
        for role in roles:
            if getattr(self.models, role) != GIVEN:
                self.folder(role)

    def fingerprint(self, *roles: str) -> str:
        """Hash of how it draws and of the content of these roles' files, wherever they are."""
        other = ("name", "models", "licences", "gradient_checkpointing", "trained_on")
        drawing = {k: v for k, v in asdict(self).items() if k not in other}
        return fingerprint(drawing, {role: self.checkpoint(role).fingerprint for role in roles})

    def unfamiliar(self, data: str) -> str | None:
        """Return a remark where its models were trained on other data than ``data`` (a name), else None."""
        if self.trained_on in ("", data):
            return None
        return (
            f"the {self.name} models were trained on {self.trained_on} alone: on these data they draw what "
            "they learned there. Train some on these data (python -m recsim_gen.pretrain --data …, then "
            "--models runs/pretrain), or take large ones (--models paper)"
        )

    def with_models(self, **names: str) -> ModelFamily:
        """The same family with other models in some roles."""
        return replace(self, models=replace(self.models, **names))

    def to_learn(self) -> ModelFamily:
        """The same with models of one's own, through which something is learned that itself has float32.

        Half weights are bfloat16 then: its range is float32's, so that gradients need no scaling.
        """
        return replace(self, dtype="float32" if self.dtype == "float32" else "bfloat16")

    def checkpoint(self, role: str) -> Checkpoint:
        """Where the model of a role is. Raises SettingError where the family has none."""
        roles = [f.name for f in fields(Models)]
        if role not in roles:
            raise SettingError(f"unknown role {role!r}.{did_you_mean(role, roles)}")
        name = getattr(self.models, role)
        if not name:
            raise SettingError(
                f"{self.name} models: no {role} is named. Write `{role}: NAME` under `models:` in a file "
                "and give it as --models FILE.yaml"
            )
        return Checkpoint(name, role, self.name, self.licences.get(name, "see its card"))

    def _encoder(self, role: str, device: str | None) -> HuggingFace:
        from recsim_gen.encoders.huggingface import HuggingFace

        checkpoint, place = self.checkpoint(role), device or str(this_process().device)
        key = ("encoder", checkpoint.name, place)  # one model may encode both text and images
        if key not in self._kept:
            self._kept[key] = checkpoint.load(lambda folder: HuggingFace(str(folder), device=place))
        return self._kept[key]

    def _load(self, role: str, make: Callable[..., Any], device: str | None, torch_dtype: Any) -> Any:
        import torch

        place, dtype = device or str(this_process().device), torch_dtype or getattr(torch, self.dtype)
        key = (role, place, str(dtype))
        if key not in self._kept:
            self._kept[key] = make(self.checkpoint(role), device=place, torch_dtype=dtype)
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[Any, Any]:
        return {}


def open_family(spec: str | Path = "embedded") -> ModelFamily:
    """The family that ``--models`` names: ``embedded``, ``paper``, FOLDER or FILE.yaml.

    Nothing is loaded. Raises SettingError for what is none of these, for a file that is no YAML
    mapping, and for an unknown key or a value of the wrong type in it.
    """
    if str(spec) in FAMILIES:
        return _from_file(Path(__file__).parent / FAMILIES[str(spec)], str(spec))
    path = Path(spec).expanduser()
    if path.is_dir():
        return _from_file(path / FILE, str(spec)) if (path / FILE).is_file() else _from_folder(path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return _from_file(path, str(spec))
    hint = did_you_mean(str(spec), FAMILIES)
    raise SettingError(f"models {str(spec)!r}: wanted a name, FOLDER or FILE.yaml, got none of them.{hint}")


def _from_folder(folder: Path) -> ModelFamily:
    """Every sub-folder of ``LAYOUT`` that is there."""
    models = {role: str((folder / sub).resolve()) for role, sub in LAYOUT.items() if (folder / sub).is_dir()}
    if not models:
        folders = ", ".join(dict.fromkeys(LAYOUT.values()))
        raise SettingError(f"models {str(folder)!r}: wanted {FILE} or any of the folders {folders}, got none")
    return ModelFamily(str(folder), Models(**models))


def _from_file(file: Path, name: str) -> ModelFamily:
    settings = _read(file)

    def place(name: Any) -> Any:
        return str((file.parent / Path(name).expanduser()).resolve()) if is_folder(str(name)) else name

    models = {role: place(model) for role, model in settings.pop("models").items()}
    licences = {place(model): str(licence) for model, licence in settings.pop("licences").items()}
    try:
        chosen = with_settings(Models, models)
        return with_settings(ModelFamily, {"name": name, "models": chosen, "licences": licences, **settings})
    except SettingError as error:
        raise SettingError(f"{file}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    """The file's mapping, whose ``models`` and ``licences`` are mappings as well."""
    import yaml

    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingError(f"{file}: cannot be read as YAML ({error})") from error
    if not isinstance(settings, dict):
        raise SettingError(f"{file}: a mapping that begins with `models:` is wanted, got {settings!r:.60}")
    parts = {"models": settings.get("models"), "licences": settings.get("licences", {})}
    for key, part in parts.items():
        if not isinstance(part, dict):
            raise SettingError(f"{file}: a mapping is wanted under `{key}:`, got {part!r:.60}")
    return {**settings, **parts}
