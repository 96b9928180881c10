"""Any encoder of transformers: ``hf:name-or-folder``.

The features depend on the type of model: a dual encoder (CLIP, SigLIP, …) gives its projected text and image
features, a text model the masked mean of its last hidden states, an image model its pooled output.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.encoders.weights import (
    first_line,
    hub_is_offline,
    no_bars,
    package,
    to_numpy,
    weights_fingerprint,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image


SHIPPED_CLIP = Path(__file__).parents[1] / "models" / "boutique" / "clip"


class HuggingFace:
    """Text and image features of a transformers model, from the hub or from a folder.

    With ``HF_HUB_OFFLINE`` set the hub is not contacted.

    Parameters
    ----------
    name
        A folder written by ``save_pretrained`` (model and tokenizer or image processor), or a name on the
        hub. Only safetensors are read, and no code that comes with a model is run.
    device
        Device of the model.
    max_tokens
        Texts are cut at this number of tokens. None: the limit of the model.

    Raises
    ------
    MissingDependency
        If the files cannot be obtained.
    DataError
        If the checkpoint lacks weights of its model.
    """

    def __init__(self, name: str, *, device: str = "cpu", max_tokens: int | None = None) -> None:
        transformers = package("transformers", extra="hub", wanted_by=f"hf:{name}")
        self.name = name
        self._model, self._without_pooler = _load_model(transformers, name)
        self._model.to(device).eval()
        self._dual = hasattr(self._model, "get_image_features")
        main_input = self._model.main_input_name
        self._tokenizer = self._processor = None
        if self._dual or main_input == "input_ids":
            self._tokenizer = _load(transformers.AutoTokenizer, name)
            self._max_tokens = max_tokens or _longest(self._model.config, self._tokenizer)
        if self._dual or main_input == "pixel_values":
            self._processor = _load(transformers.AutoImageProcessor, name)
        self.fingerprint = weights_fingerprint(self._model, *self._preprocessing())

    def _preprocessing(self) -> tuple[Any, ...]:
        tokens, pixels = None, None
        if self._tokenizer is not None:
            backend = getattr(self._tokenizer, "backend_tokenizer", None)
            vocabulary = backend.to_str() if backend is not None else self._tokenizer.get_vocab()
            tokens = (vocabulary, self._max_tokens)
        if self._processor is not None:
            pixels = self._processor.to_dict()
        return tokens, pixels, self._without_pooler

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, d) float32: projected text features of a dual encoder, else masked mean pooling."""
        if self._tokenizer is None:
            raise SettingError(f"hf:{self.name} is an image model and takes no text; use it for images")
        import torch

        tokens = self._tokenizer(
            list(texts),
            # SigLIP was trained with full-length padding; for CLIP it makes no difference.
            padding="max_length" if self._dual else True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            if self._dual:
                return to_numpy(_pooled(self._model.get_text_features(**tokens)))
            encoder = self._model.get_encoder() if self._model.config.is_encoder_decoder else self._model
            hidden = encoder(**tokens).last_hidden_state
            return to_numpy(masked_mean(hidden, tokens["attention_mask"]))

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return (B, d) float32: projected image features of a dual encoder, else pooled output."""
        import torch

        pixels = self.pixel_values(images)
        with torch.inference_mode():
            if self._dual:
                return to_numpy(_pooled(self._model.get_image_features(pixel_values=pixels)))
            output = self._model(pixel_values=pixels)
            return to_numpy(output.last_hidden_state[:, 0] if self._without_pooler else _pooled(output))

    def pixel_values(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return (B, 3, h, w) preprocessed images. Raises SettingError for a text model."""
        if self._processor is None:
            raise SettingError(f"hf:{self.name} is a text model and takes no images; use it for text")
        pixels: torch.Tensor = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self._model.device)

    def patch_states(self, pixels: torch.Tensor) -> np.ndarray:
        """Return (B, S, d) float32: states of the penultimate layer for each patch of `pixel_values`."""
        import torch

        vision = self._model.vision_model if self._dual else self._model
        with torch.inference_mode():
            output = vision(pixel_values=pixels, output_hidden_states=True)
        if output.hidden_states[-2].ndim != 3:
            raise SettingError(f"hf:{self.name} sees no patches: a vision transformer (CLIP, ViT) is wanted")
        states: np.ndarray = output.hidden_states[-2].float().cpu().numpy()
        return states


def boutique_clip(*, device: str = "cpu") -> HuggingFace:
    """Return the CLIP that comes with the library, trained on images of Boutique."""
    return HuggingFace(str(SHIPPED_CLIP), device=device)


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean (B, d) of ``hidden (B, T, d)`` over the tokens where ``mask (B, T)`` is 1."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)


def _pooled(output: Any) -> torch.Tensor:
    """Return the pooled tensor, which transformers 5 wraps into an object."""
    pooled = getattr(output, "pooler_output", output)
    return output.last_hidden_state[:, 0] if pooled is None else pooled


def _load_model(transformers: Any, name: str) -> tuple[Any, bool]:
    """Return the model in float32, and whether its image pooler must be bypassed.

    transformers initialises missing weights randomly. A pooler is often missing (the class token replaces
    it); any other missing weight makes the features worthless.
    """
    import torch

    config = _load(transformers.AutoConfig, name)  # first: it is small and fails early
    options = {"config": config, "dtype": torch.float32, "use_safetensors": True}
    with no_bars(transformers, when=Path(name).is_dir()):  # progress bars only for downloads
        model, report = _load(transformers.AutoModel, name, output_loading_info=True, **options)
    lacking = sorted(report["missing_keys"])
    poolers = [key for key in lacking if key.startswith("pooler.")]
    if lacking != poolers:
        raise DataError(
            f"hf:{name}: the checkpoint must hold all weights of {type(model).__name__}, "
            f"got none for {len(lacking) - len(poolers)} of them, {set(lacking) - set(poolers)} among them"[
                :400
            ],
            remedy="Was it saved from another class?",
        )
    return model, bool(poolers)


def _load(loader: Any, name: str, **options: Any) -> Any:
    """Call ``loader.from_pretrained``; errors say what is missing and where to put it."""
    from safetensors import SafetensorError

    try:
        return loader.from_pretrained(name, local_files_only=hub_is_offline(), **options)
    except (OSError, ValueError, SafetensorError) as error:
        if Path(name).is_dir():
            raise MissingDependency(
                f"hf:{name}: {loader.__name__} cannot read this folder. Wanted: config.json, "
                "model.safetensors, and the files of the tokenizer or image processor, as "
                f"save_pretrained writes them; got {sorted(p.name for p in Path(name).iterdir())}. "
                f"({first_line(error)})"
            ) from error
        raise MissingDependency(
            f"hf:{name}: no folder of this name, and the hub did not give it. Put the model's files "
            f"into a folder and name it (hf:FOLDER), or fill the hub's cache where the hub can be "
            f"reached (hf download {name}). ({first_line(error)})"
        ) from error


def _longest(config: Any, tokenizer: Any) -> int:
    """Return the maximal number of tokens of the model."""
    text = getattr(config, "text_config", config)
    positions = getattr(text, "max_position_embeddings", None) or 512
    return int(min(positions, tokenizer.model_max_length))
