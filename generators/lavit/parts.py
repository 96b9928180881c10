"""All parts of LaVIT: images to tokens, language model, tokens to images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generators.images import image_of
from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    import torch

    from generators.lavit.decoder import Decoder
    from generators.lavit.language import Vocabulary
    from generators.lavit.tokenizer import Tokenizer
    from generators.lavit.vision import Vision
    from generators.sampler import Sampler
    from recsim_gen.core.types import Catalog


@dataclass(frozen=True)
class Parts:
    """The loaded models; ``words`` is the language model's own tokenizer."""

    vision: Vision
    tokenizer: Tokenizer
    decoder: Decoder
    language: Any
    words: Any
    vocabulary: Vocabulary
    sampler: Sampler

    def text(self, text: str) -> list[int]:
        """Return the tokens of a text, without begin and end tokens."""
        tokens: list[int] = self.words(text, add_special_tokens=False)["input_ids"]
        return tokens

    def states(self, codes: Sequence[int]) -> torch.Tensor:
        """Return (patches, d) the conditions of the diffusion model for an image's codes.

        There may be at most as many codes as patches.
        """
        import torch

        device = self.sampler.device
        numbers = torch.tensor([codes], device=device)
        with torch.no_grad():
            vectors = self.tokenizer.quantize.embedding(numbers)
            states: torch.Tensor = self.decoder(vectors, torch.ones_like(numbers, dtype=torch.bool))[0]
        return states.to(self.sampler.pipeline.unet.dtype)


class PictureCodes:
    """Codes of a catalogue's images, each tokenised alone and once, with a random stream per row."""

    def __init__(self, catalog: Catalog, vision: Vision, tokenizer: Tokenizer) -> None:
        self._catalog, self._vision, self._tokenizer = catalog, vision, tokenizer
        self._known: dict[int, list[int]] = {}

    def of(self, row: int) -> list[int]:
        """Return the codes of an item's image. Raises DataError if it has none."""
        import torch

        if row not in self._known:
            features = self._vision.features([image_of(self._catalog, row)])
            with torch.no_grad():
                tokens = self._tokenizer(features, Rng(0).for_("codes", row).torch())
            self._known[row] = tokens.numbers[0].tolist()
        return self._known[row]
