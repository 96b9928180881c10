"""One model of a family: where its files are, their content, and the error if they are missing."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.store import cached_array, file_state, fingerprint
from recsim_gen.encoders.weights import first_line, hub_is_offline, no_bars

T = TypeVar("T")

SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".jinja")
"""Files of a model; pickles (``.bin``, ``.ckpt``) and code are neither downloaded nor read."""

# published as pickled tensors; read as tensors only
_READ = {"glide": (*SUFFIXES, ".pt"), "lavit": (*SUFFIXES, ".bin")}

_FILES = {
    "omini": "as published: omini/subject_512.safetensors",
    "glide": "base.pt and upsample.pt (https://openaipublic.blob.core.windows.net/diffusion/dec-2021/), and "
    "vocab.json and merges.txt of GPT-2",
    "lavit": "as published: visual_tokenizer/ (eva_vitg_psz14.bin, tokenizer_encoder.bin, "
    "tokenizer_decoder.bin), language_model/ and pixel_decoding/",
}
_SAVED = "as save_pretrained writes them (config or model_index.json, safetensors, tokenizer…)"

_TRANSFORMERS = tuple(f"*{suffix}" for suffix in SUFFIXES)
_PIPELINE = (  # listed, since repositories also hold other precisions, whole checkpoints, a safety checker
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
)
_FETCHED = {
    "diffusion": _PIPELINE,
    "instruct_pix2pix": _PIPELINE,
    "ip_adapter": (
        "models/ip-adapter_sd15.safetensors",
        "models/ip-adapter-plus_sd15.safetensors",
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
    ),
    "omini": ("omini/subject_512.safetensors",),
    "lavit": (
        "language_model/*",
        "visual_tokenizer/eva_vitg_psz14.bin",
        "visual_tokenizer/tokenizer_encoder.bin",
        "visual_tokenizer/tokenizer_decoder.bin",
        "pixel_decoding/uncond_embeddings.bin",
        "pixel_decoding/*/*",
    ),
}


@dataclass(frozen=True)
class Checkpoint:
    """The files of a model: a folder, or a repository of the hub.

    ``name`` is a folder if ``is_folder`` says so; ``role`` is the model's role in its ``family``
    (``diffusion``), as in the family's file; ``licence`` is shown if the model is missing.
    """

    name: str
    role: str
    family: str
    licence: str

    def folder(self) -> Path:
        """Folder of its files; downloaded from the hub if not in the hub's cache.

        Raises MissingDependency if that fails. With ``HF_HUB_OFFLINE`` the hub is not contacted.
        """
        if is_folder(self.name):
            path = Path(self.name).expanduser()
            if not path.is_dir():
                raise self.missing("there is no such folder")
            return path
        from huggingface_hub import snapshot_download

        patterns = [*_FETCHED.get(self.role, _TRANSFORMERS)]
        try:
            folder = snapshot_download(self.name, allow_patterns=patterns, local_files_only=hub_is_offline())
        except (OSError, ValueError) as error:
            raise self.missing(first_line(error)) from error
        return Path(folder)

    def load(self, make: Callable[[Path], T]) -> T:
        """Return ``make(folder)`` without progress bars for local files; raise ``missing`` if it fails."""
        from safetensors import SafetensorError

        folder = self.folder()
        libraries = [sys.modules[name] for name in ("transformers", "diffusers") if name in sys.modules]
        try:
            with no_bars(*libraries):
                return make(folder)
        except (OSError, ValueError, ImportError, SafetensorError, MissingDependency) as error:
            raise self.missing(first_line(error)) from error

    def load_model(self, loader: Any, torch_dtype: Any, *, subfolder: str = "") -> Any:
        """Load a transformers model for inference with ``loader.from_pretrained``, from safetensors only.

        Raises DataError if the files lack weights, which the loader would initialise randomly.
        """

        def make(folder: Path) -> Any:
            options = {"dtype": torch_dtype, "use_safetensors": True, "local_files_only": True}
            place = folder / subfolder
            return loader.from_pretrained(place, output_loading_info=True, **options)

        model, report = self.load(make)
        self.refuse_incomplete(model, sorted(report["missing_keys"]))
        return model.eval()

    def refuse_incomplete(self, model: Any, lacking: Sequence[str]) -> None:
        """Raise DataError if the files lack weights of ``model`` (their names)."""
        if lacking:
            raise DataError(
                f"{self._title}: all weights of {type(model).__name__} are wanted, "
                f"got none for {len(lacking)}, {lacking[0]} among them",
                file=self.folder(),
                remedy="Was it saved from another class?",
            )

    @property
    def fingerprint(self) -> str:
        """Hash of the files' content. Bytes are read once per state (names, `file_state`)."""
        root = self.folder()
        read = _READ.get(self.role, SUFFIXES)
        files = sorted(p for p in root.rglob("*") if p.suffix in read and p.is_file())
        stats = [(str(p.resolve()), *file_state(p)) for p in files]
        digests = cached_array("model-digests", fingerprint(stats), lambda: _digests(files))
        return fingerprint([p.relative_to(root).as_posix() for p in files], digests)

    def missing(self, reason: str) -> MissingDependency:
        """Return the error for missing files: the licence, where to put them, and how to use a folder."""
        files = _FILES.get(self.role, _SAVED)
        own = f"name a folder of them: `{self.role}: ./FOLDER` under `models:` in --models FILE.yaml"
        own += ", or --captioner FOLDER" if self.role == "captioner" else ""
        if is_folder(self.name):
            remedy = (
                f"Put its files there, {files}; or {own}; or make a family of small models by "
                "`python -m recsim_gen.pretrain --output DIR` and give --models DIR"
            )
        else:
            from huggingface_hub.constants import HF_HUB_CACHE

            remedy = (
                f"It goes into the hub's cache, {HF_HUB_CACHE}: run `hf download {self.name}` where the "
                f"hub can be reached; or {own}, {files}"
            )
        return MissingDependency(f"{self._title} (licence: {self.licence}) is missing. {remedy}. ({reason})")

    @property
    def _title(self) -> str:
        return f"{self.family} models: {self.role} {self.name}"


def is_folder(name: str) -> bool:
    """Return whether a model's name is a folder: it begins with ``./``, ``../``, ``/`` or ``~``.

    Existence is not checked: a folder that was deleted must not turn into a download.
    """
    return name.startswith(("./", "../", "~")) or Path(name).is_absolute()


def _digests(files: list[Path]) -> np.ndarray:
    """Return (k, 16) uint8: a hash of each file's bytes."""
    digests = []
    for file in files:
        h = hashlib.blake2b(digest_size=16)
        with file.open("rb") as f:
            while block := f.read(2**22):
                h.update(block)
        digests.append(h.digest())
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(files), 16)
