"""Any encoder of transformers: ``hf:name-or-folder``.

What the model is decides what it gives: a dual encoder (CLIP, SigLIP, …) its projected text and
image features, a text model the mean of its last hidden states over the mask, an image model its
pooled output.
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
    """Text and image features of a model of transformers, from the hub or from a folder.

    Parameters
    ----------
    name: a folder that ``save_pretrained`` wrote (model and tokenizer or image processor), or a
        name on the hub. Only safetensors are read, and no code that comes with a model is run.
    device: where it runs.
    max_tokens: longest text in tokens; what comes after is cut. None: what the model takes.

    With ``HF_HUB_OFFLINE`` set the hub is not asked. Raises MissingDependency when the files
    cannot be had, DataError when the checkpoint does not hold all weights of its model.
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
        """(B, d) float32: projected text features of a dual encoder, else masked mean pooling."""
        if self._tokenizer is None:
            raise SettingError(f"hf:{self.name} is an image model and takes no text; use it for images")
        import torch

        tokens = self._tokenizer(
            list(texts),
            # SigLIP was trained on full-length padding; for CLIP it changes nothing.
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
        """(B, d) float32: projected image features of a dual encoder, else pooled output."""
        import torch

        pixels = self.pixel_values(images)
        with torch.inference_mode():
            if self._dual:
                return to_numpy(_pooled(self._model.get_image_features(pixel_values=pixels)))
            output = self._model(pixel_values=pixels)
            return to_numpy(output.last_hidden_state[:, 0] if self._without_pooler else _pooled(output))

    def pixel_values(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """(B, 3, h, w) pictures as the model sees them. Raises SettingError for a text model."""
        if self._processor is None:
            raise SettingError(f"hf:{self.name} is a text model and takes no images; use it for text")
        pixels: torch.Tensor = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self._model.device)

    def patch_states(self, pixels: torch.Tensor) -> np.ndarray:
        """(B, S, d) float32: what the last layer but one says of each patch of `pixel_values`."""
        import torch

        vision = self._model.vision_model if self._dual else self._model
        with torch.inference_mode():
            output = vision(pixel_values=pixels, output_hidden_states=True)
        if output.hidden_states[-2].ndim != 3:
            raise SettingError(f"hf:{self.name} sees no patches: a vision transformer (CLIP, ViT) is wanted")
        states: np.ndarray = output.hidden_states[-2].float().cpu().numpy()
        return states


def boutique_clip(*, device: str = "cpu") -> HuggingFace:
    """The CLIP that comes with the library, trained on drawings of Boutique: no file is needed."""
    return HuggingFace(str(SHIPPED_CLIP), device=device)


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``hidden (B, T, d)`` over the tokens where ``mask (B, T)`` is 1; (B, d)."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)


def _pooled(output: Any) -> torch.Tensor:
    """The pooled tensor, which transformers 5 wraps into an object."""
    pooled = getattr(output, "pooler_output", output)
    return output.last_hidden_state[:, 0] if pooled is None else pooled


def _load_model(transformers: Any, name: str) -> tuple[Any, bool]:
    """The model in float32, and whether its image pooler has to be passed over.

    transformers fills weights that a checkpoint lacks with random numbers. A pooler is often
    lacking (the class token stands in for it); anything else makes the features worthless.
    """
    import torch

    config = _load(transformers.AutoConfig, name)  # first, for it is small and fails soon
    options = {"config": config, "dtype": torch.float32, "use_safetensors": True}
    with no_bars(transformers, when=Path(name).is_dir()):  # bars are for downloads
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
    """``loader.from_pretrained`` with errors that say what is missing and where it goes."""
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
    """Tokens the model takes at once."""
    text = getattr(config, "text_config", config)
    positions = getattr(text, "max_position_embeddings", None) or 512
    return int(min(positions, tokenizer.model_max_length))
