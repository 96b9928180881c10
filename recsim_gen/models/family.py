"""The models that generators use, by role; ``--models`` selects a family of them.

``embedded`` (default) and ``paper`` are files in this folder; a folder written by ``pretrain`` and a
user-defined file are families as well. Families differ only in names, sizes and steps.
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
"""{role: sub-folder} in a folder that is a family."""

FILE = "family.yaml"  # in such a folder: settings that replace the layout and the defaults


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
    """Names of models and their image settings; a model is loaded on first use and kept.

    Models are shared by all users of the instance: to change one (LoRA, an adapter), open the family again.
    Every loader takes ``device`` (None: Accelerate's choice) and, except for encoders, ``torch_dtype`` (None:
    ``dtype``). It raises MissingDependency if the files are missing, SettingError if the family does not name
    the model.
    """

    name: str
    models: Models
    image_size: int = 0  # side in pixels; 0: that of the diffusion model's training
    steps: int = 20  # sampling steps
    guidance: float = 2.0  # scale of classifier-free guidance; 1: none
    batch: int = 8  # images per batch; constant, since the last bits of images depend on it
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"  # type of the weights; encoders use float32
    gradient_checkpointing: bool = False  # in training: a third more time, a fraction of the memory
    licences: Mapping[str, str] = field(default_factory=dict)  # licence by model name
    trained_on: str = ""  # name of the only data set that its models know; "": general models

    def __post_init__(self) -> None:
        for name, least in (("image_size", 0), ("steps", 1), ("guidance", 0), ("batch", 1)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise SettingError(f"{self.name} models: {name} must be {least} or more, got {value}")

    def captioner(self, *, device: str | None = None, torch_dtype: torch.dtype | None = None) -> Captioner:
        """Return the captioner: a model, or the captions that come with the catalogue."""
        if self.models.captioner == GIVEN:
            return Given()
        return self._load("captioner", ImageCaptioner, device, torch_dtype)

    def text_encoder(self, *, device: str | None = None) -> HuggingFace:
        """Return the text encoder; ``encode_texts`` gives vectors (B, d)."""
        return self._encoder("text_encoder", device)

    def image_encoder(self, *, device: str | None = None) -> HuggingFace:
        """Return the image encoder; ``encode_images`` gives vectors (B, d)."""
        return self._encoder("image_encoder", device)

    def language_model(
        self, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Return a causal language model and its tokenizer, which pads on the left."""
        from recsim_gen.models.language import load_language_model

        return self._load("language_model", load_language_model, device, torch_dtype)

    def diffusion(
        self, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> StableDiffusionPipeline:
        """Return the pipeline with the scheduler of its checkpoint, whose settings belong to the weights."""
        from recsim_gen.models.diffusion import load_diffusion

        return self._load("diffusion", load_diffusion, device, torch_dtype)

    def glide(self, *, device: str | None = None, torch_dtype: torch.dtype | None = None) -> Glide:
        """Return the GLIDE: text to images by two nets in pixel space, each with its own text transformer."""
        from recsim_gen.models.glide.pipeline import load_glide

        return self._load("glide", load_glide, device, torch_dtype)

    def instruct_pix2pix(
        self, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> StableDiffusionInstructPix2PixPipeline:
        """Return the pipeline that edits an image by an instruction (Brooks et al. 2023)."""
        from recsim_gen.models.diffusion import load_instruct_pix2pix

        return self._load("instruct_pix2pix", load_instruct_pix2pix, device, torch_dtype)

    def pipeline(
        self, pipeline_class: Any, *, device: str | None = None, torch_dtype: torch.dtype | None = None
    ) -> DiffusionPipeline:
        """Return any pipeline of diffusers, loaded by its class."""
        from recsim_gen.models.diffusion import load_pipeline

        return self._load("pipeline", partial(load_pipeline, pipeline_class), device, torch_dtype)

    def verifier(self, *, device: str | None = None) -> ImageVerifier:
        """Return the attribute reader, which only measures and never trains or selects."""
        from recsim_gen.models.attribute_reader import ImageVerifier

        place = device or str(this_process().device)
        key = ("verifier", place)
        if key not in self._kept:
            self._kept[key] = self.checkpoint("verifier").load(ImageVerifier.from_pretrained).to(place)
        return self._kept[key]

    def release(self, role: str) -> None:
        """Drop the cached model of a role; its memory is freed when nothing else refers to it."""
        for key in [key for key in self._kept if key[0] == role]:
            del self._kept[key]

    def folder(self, role: str) -> Path:
        """Return the folder with the files of a role (``ip_adapter``…), downloaded if needed."""
        return self.checkpoint(role).folder()

    def require(self, *roles: str) -> None:
        """Raise MissingDependency now if files of these roles are missing; for the start of a command."""
        for role in roles:
            if getattr(self.models, role) != GIVEN:
                self.folder(role)

    def fingerprint(self, *roles: str) -> str:
        """Return a hash of the image settings and of the content of these roles' files, wherever they are."""
        other = ("name", "models", "licences", "gradient_checkpointing", "trained_on")
        drawing = {k: v for k, v in asdict(self).items() if k not in other}
        return fingerprint(drawing, {role: self.checkpoint(role).fingerprint for role in roles})

    def unfamiliar(self, data: str) -> str | None:
        """Return a remark if the models were trained on other data than ``data`` (a name), else None."""
        if self.trained_on in ("", data):
            return None
        return (
            f"the {self.name} models were trained on {self.trained_on} alone: on these data they draw what "
            "they learned there. Train some on these data (python -m recsim_gen.pretrain --data …, then "
            "--models runs/pretrain), or take large ones (--models paper)"
        )

    def with_models(self, **names: str) -> ModelFamily:
        """Return the same family with other models in some roles."""
        return replace(self, models=replace(self.models, **names))

    def to_learn(self) -> ModelFamily:
        """Return the same family with its own copies of the models, through which gradients can flow.

        What is trained is in float32. float16 weights of the models become bfloat16, which has the range of
        float32, so that gradients need no scaling.
        """
        return replace(self, dtype="float32" if self.dtype == "float32" else "bfloat16")

    def checkpoint(self, role: str) -> Checkpoint:
        """Return the checkpoint of a role. Raises SettingError if the family has none."""
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
    """Open the family that ``--models`` names: ``embedded``, ``paper``, FOLDER or FILE.yaml; loads no model.

    Raises SettingError for anything else, for a file that is not a YAML mapping, and for an unknown key or a
    value of the wrong type in it.
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
    """Return the family of all sub-folders of ``LAYOUT`` that exist."""
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
    """Return the file's mapping, whose ``models`` and ``licences`` are mappings as well."""
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
