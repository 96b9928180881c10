"""Any dual encoder of open_clip: ``open_clip:MODEL/TAG``, ``open_clip:MODEL/FILE`` or a folder."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.encoders.weights import package, to_numpy, weights_fingerprint

if TYPE_CHECKING:
    from PIL import Image


class OpenClip:
    """Projected text and image features of an open_clip model.

    ``name`` is one of

    - ``ViT-B-32/laion2b_s34b_b79k``: a model and one of its published weights, from the hub;
    - ``ViT-B-32/path/to/weights.safetensors``: a model and a checkpoint file;
    - a folder with ``open_clip_config.json`` and its weights, or ``hf-hub:owner/model``.

    A model is never created without weights. Raises SettingError for an unknown model or tag,
    MissingDependency if weights cannot be obtained, DataError if they do not fit the model.
    """

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        open_clip = package("open_clip", extra="hub", wanted_by=f"open_clip:{name}")
        self.name = name
        model_name, pretrained = _parts(open_clip, name)
        model, self._prepare = _load(open_clip, name, model_name, pretrained)
        self._model = model.to(device).eval()
        self._device = device
        self._tokenize = open_clip.get_tokenizer(model_name)
        settings = [model.visual.preprocess_cfg, type(self._tokenize).__name__, self._tokenize.context_length]
        self.fingerprint = weights_fingerprint(model, *settings)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, d) float32 features, not normalised; texts longer than the model's context are cut."""
        import torch

        with torch.inference_mode():
            return to_numpy(self._model.encode_text(self._tokenize(list(texts)).to(self._device)))

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, d) float32 features, not normalised, of RGB images of any size."""
        import torch

        pixels = torch.stack([self._prepare(image) for image in images]).to(self._device)
        with torch.inference_mode():
            return to_numpy(self._model.encode_image(pixels))


def _parts(open_clip: Any, name: str) -> tuple[str, str | None]:
    """Return open_clip's model name and its ``pretrained`` argument, after checking both."""
    if name.startswith(("hf-hub:", "local-dir:")):
        return name, None
    if Path(name).is_dir():
        return f"local-dir:{name}", None
    model, _, weights = name.partition("/")
    if model not in open_clip.list_models():
        hint = did_you_mean(model, open_clip.list_models()).partition(" Known:")[0]
        raise SettingError(
            f"open_clip:{name}: {name!r} is no folder and {model!r} no model of open_clip.{hint} "
            "Wanted MODEL/TAG, MODEL/FILE or a folder"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if weights not in tags and not Path(weights).is_file():
        got = f"got {weights!r}, which is neither" if weights else "got no weights"
        raise SettingError(
            f"open_clip:{name}: wanted {model}/TAG or {model}/FILE, {got}.{did_you_mean(weights, tags)}"
        )
    return model, weights


def _load(open_clip: Any, name: str, model: str, pretrained: str | None) -> tuple[Any, Any]:
    """Return model and preprocessing, in float32 on the CPU."""
    import torch
    from safetensors import SafetensorError

    unfit = (
        AssertionError,
        KeyError,
        pickle.UnpicklingError,
        SafetensorError,
    )  # exceptions that open_clip lets through
    published = open_clip.get_pretrained_cfg(model, pretrained) if pretrained else {}
    try:
        with torch.random.fork_rng(devices=[]):  # weights are initialised from the global random state
            return open_clip.create_model_from_pretrained(
                model,
                pretrained,
                weights_only=True,
                # OpenAI's weights need it; open_clip only warns and continues without.
                force_quick_gelu=bool(published.get("quick_gelu", False)),
            )
    except (OSError, RuntimeError, ValueError, *unfit) as error:
        if pretrained and not published:
            raise DataError(
                f"must hold the weights of {model} of open_clip, got something else ({error})"[:400],
                file=pretrained,
                remedy=f"Name the model they were saved from: open_clip:MODEL/{pretrained}",
            ) from error
        raise MissingDependency(
            f"open_clip:{name}: its weights cannot be had. Fill the hub's cache where the hub "
            "can be reached, or name a local file (open_clip:MODEL/FILE) or a folder with "
            f"open_clip_config.json and open_clip_model.safetensors. ({error})"
        ) from error
