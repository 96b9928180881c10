"""New words of a text encoder: looked up in separate tensors, and stored in diffusers' format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng

PLACE = "<word>"
SPREAD = 0.1  # noise of the initial vectors, in standard deviations of the table


class Lookup(torch.nn.Module):
    """Replaces ``table``: ids from ``first`` on have their vectors in row b of ``vectors`` (B, k, d)."""

    def __init__(self, table: torch.nn.Embedding, first: int) -> None:
        super().__init__()
        self.table, self.first = table, first
        self.weight = table.weight  # other code accesses this attribute of an embedding
        self.vectors: torch.Tensor | None = None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (B, T, d) for ``ids`` (B, T)."""
        looked_up: torch.Tensor = self.table(ids.clamp(max=self.first - 1))
        if self.vectors is None:
            return looked_up
        place = (ids - self.first).clamp(min=0)[..., None].expand(*ids.shape, self.vectors.shape[-1])
        return torch.where((ids >= self.first)[..., None], self.vectors.gather(1, place), looked_up)


class NewWords:
    """A pipeline whose prompts may contain ``word``, with vectors given at each call.

    The word is added to the pipeline's tokenizer, and its text encoder looks it up in other tensors, so the
    pipeline must not be shared.
    """

    def __init__(self, pipeline: Any, vectors: int) -> None:
        self.word = PLACE
        self._pipeline = pipeline
        tokenizer, text_encoder = pipeline.tokenizer, pipeline.text_encoder
        self._table: torch.nn.Embedding = text_encoder.get_input_embeddings()
        self.shape = (vectors, self._table.embedding_dim)
        # Named as by load_textual_inversion, so that prompts are tokenised in the same way.
        tokenizer.add_tokens([PLACE, *(f"{PLACE}_{k}" for k in range(1, vectors))])
        self._lookup = Lookup(self._table, tokenizer.convert_tokens_to_ids(PLACE))
        text_encoder.set_input_embeddings(self._lookup)

    def start(self, words: int, rng: Rng) -> torch.Tensor:
        """Return (words, vectors, d) initial vectors: the mean of all words plus a little noise."""
        table = self._table.weight.detach().float().cpu()
        noise = torch.randn(words, *self.shape, generator=rng.torch())
        return table.mean(0) + SPREAD * table.std(0) * noise

    def states(self, texts: Sequence[str], vectors: torch.Tensor) -> torch.Tensor:
        """Return (B, T, d) states of texts in which the word of row b is ``vectors[b]`` (B, vectors, d)."""
        self._lookup.vectors = vectors.to(self._table.weight)
        try:
            device = self._table.weight.device
            states: torch.Tensor = self._pipeline.encode_prompt(list(texts), device, 1, False)[0]
        finally:
            self._lookup.vectors = None
        return states


def write_words(folder: Path, words: Mapping[str, torch.Tensor]) -> None:
    """Write a file per word for `load_textual_inversion`: ``user-3.safetensors`` for ``<user-3>``."""
    from safetensors.torch import save_file

    folder.mkdir()
    for word, vectors in words.items():
        save_file({word: vectors.contiguous()}, folder / f"{word.strip('<>')}.safetensors")


def read_words(folder: Path) -> dict[str, torch.Tensor]:
    """Read what ``write_words`` wrote. Raises DataError for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    words: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            content = load_file(file)
        except (OSError, SafetensorError) as error:
            raise DataError(f"no readable word: {error}", file=file, remedy="Train again") from error
        if len(content) != 1:
            raise DataError(f"one word is wanted, got {len(content)}", file=file, remedy="Train again")
        words |= content
    if not words:
        raise DataError("learned words are wanted, got none", file=folder, remedy="Train again")
    return words
