"""Captioners: captions that come with a catalogue, or that a model makes from images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.types import Catalog
    from recsim_gen.models.checkpoint import Checkpoint

GIVEN = "given"

MAX_TOKENS = 40  # most tokens of an answer


def captioner_name(spec: str) -> str:
    """Return the model that ``hf:NAME``, ``hf:FOLDER`` or ``FOLDER`` refers to, in the form of family files.

    Raises SettingError for another form.
    """
    name = spec.removeprefix("hf:")
    if (path := Path(name).expanduser()).is_dir():
        return str(path.resolve())
    if name == spec:
        raise SettingError(f"captioner {spec!r}: wanted hf:NAME of the hub or a folder, got neither")
    return name


class Captioner(Protocol):
    """Interface of captioners."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that captions depend on, except images and prompt."""

    def caption(
        self, images: Sequence[Image.Image], prompt: str, *, max_tokens: int = MAX_TOKENS
    ) -> list[str]:
        """Return one line of at most ``max_tokens`` tokens for each image, in answer to ``prompt``."""

    def caption_items(self, catalog: Catalog, rows: Sequence[int], prompt: str) -> list[str]:
        """Return one line for each of these items of a catalogue."""


class Given:
    """The catalogue's own captions, whatever the prompt (Boutique comes with them)."""

    fingerprint = GIVEN

    def caption(
        self, images: Sequence[Image.Image], prompt: str, *, max_tokens: int = MAX_TOKENS
    ) -> list[str]:
        """Raise SettingError, since there is no model that could process images."""
        raise SettingError(
            "captioner 'given' has the catalogue's captions only and cannot look at pictures. Name a model: "
            "--captioner hf:NAME or FOLDER, or `captioner:` in a file for --models"
        )

    def caption_items(self, catalog: Catalog, rows: Sequence[int], prompt: str) -> list[str]:
        """Return the captions of these items. Raises DataError for an item without one."""
        captions = catalog.captions[np.asarray(rows, dtype=np.int64)]
        blank = np.char.strip(captions) == ""
        if blank.any():
            item = catalog.item_ids[rows[int(blank.argmax())]]
            raise DataError(
                f"captions are to be given by the catalogue, item {item!r} has none",
                remedy="Make them: python -m recsim_gen.caption",
            )
        return captions.tolist()


class ImageCaptioner:
    """A transformers model that answers a question about an image (BLIP-2, Qwen2.5-VL, …).

    Decoding is greedy, so the same image always has the same caption. A model with a chat template is
    prompted through it; one without, BLIP-2, by "Question: … Answer:" (Li et al. 2023, Sec. 4.2).
    ``checkpoint`` holds model and processor as ``save_pretrained`` writes them.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._processor = checkpoint.load(
            lambda folder: AutoProcessor.from_pretrained(folder, local_files_only=True)
        )
        self._processor.tokenizer.padding_side = "left"
        self._model = checkpoint.load_model(AutoModelForImageTextToText, torch_dtype).to(device)
        for sampling in (
            "temperature",
            "top_p",
            "top_k",
        ):  # defaults of the checkpoint, unused in greedy decoding
            setattr(self._model.generation_config, sampling, None)
        self._dtype = torch_dtype
        self.fingerprint = fingerprint(checkpoint.fingerprint, str(torch_dtype))

    def caption(
        self, images: Sequence[Image.Image], prompt: str, *, max_tokens: int = MAX_TOKENS
    ) -> list[str]:
        """Return one line of at most ``max_tokens`` tokens for each RGB image, in answer to ``prompt``."""
        import torch

        inputs = self._inputs(list(images), prompt).to(self._model.device, self._dtype)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, do_sample=False, max_new_tokens=max_tokens)
        answers = tokens[:, inputs["input_ids"].shape[1] :]
        lines = self._processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [" ".join(line.split()) for line in lines]

    def caption_items(self, catalog: Catalog, rows: Sequence[int], prompt: str) -> list[str]:
        """Return one line for each of these items' images. Raises DataError if an item has none."""
        if catalog.images is None:
            raise DataError("pictures to caption are wanted, the catalogue has none")
        return self.caption([catalog.images.read(row) for row in rows], prompt)

    def _inputs(self, images: list[Image.Image], prompt: str) -> Any:
        if self._processor.chat_template:
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            chat = [{"role": "user", "content": content}]
            text = self._processor.apply_chat_template(chat, add_generation_prompt=True)
        else:
            text = f"Question: {prompt} Answer:"
        return self._processor(images=images, text=[text] * len(images), padding=True, return_tensors="pt")
