"""A language model whose vocabulary has image tokens in addition to words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.randomness import Rng


@dataclass(frozen=True)
class Vocabulary:
    """``words`` of the language, then the two special tokens around an image, then its ``codes``.

    LaVIT's: 32,000 words, begin 32000, end 32001, codes 32002 to 48385.
    """

    words: int
    codes: int

    @property
    def begin(self) -> int:
        """Token that begins an image."""
        return self.words

    @property
    def end(self) -> int:
        """Token that ends an image."""
        return self.words + 1

    def __len__(self) -> int:
        return self.words + 2 + self.codes

    def picture(self, codes: Sequence[int]) -> list[int]:
        """Return the tokens of an image with the special tokens around it."""
        return [self.begin, *(self.words + 2 + code for code in codes), self.end]

    def document(self, pictures: Sequence[Sequence[int]], text: Sequence[int]) -> list[int]:
        """Return the tokens of a prompt: images of a history (codes), a text (words), and the begin token."""
        before = [token for codes in pictures for token in self.picture(codes)]
        return [*before, *text, self.begin]


@dataclass(frozen=True)
class Sampling:
    """Sampling of codes: guidance g, ``top_k`` most likely, ``temperature``, ``least`` to ``most`` codes.

    LaVIT's: guidance 4, top 50, temperature 1, 20 to 200 codes.
    """

    guidance: float
    top_k: int
    temperature: float
    least: int
    most: int


def extended(model: Any, vocabulary: Vocabulary, rng: Rng) -> Any:
    """Return the language model with new rows for image tokens, initialised like its own rows."""
    from recsim_gen.core.training_loop import seeded

    with seeded(rng):
        model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    return model


def answer_loss(
    model: Any, documents: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the mean cross-entropy of the tokens of ``answers``, each after its document."""
    import torch
    import torch.nn.functional as F

    rows = [[*document, *answer] for document, answer in zip(documents, answers, strict=True)]
    width = max(map(len, rows))
    # Padded on the right: attention is causal, so padding does not affect any token.
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=model.device)
    answered = torch.zeros_like(ids, dtype=torch.bool)
    for k, (document, row) in enumerate(zip(documents, rows, strict=True)):
        answered[k, len(document) : len(row)] = True
    states = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    logits = model.lm_head(states[answered[:, 1:]]).float()
    return F.cross_entropy(logits, ids[:, 1:][answered[:, 1:]])


def guided(logits: torch.Tensor, guidance: float) -> torch.Tensor:
    """Return (V,) u + g (c − u) for log-probabilities of ``logits`` (2, V): c conditional, u without."""
    given, free = logits.float().log_softmax(-1)
    mixed: torch.Tensor = free + guidance * (given - free)
    return mixed


def draw_codes(
    model: Any, vocabulary: Vocabulary, document: Sequence[int], how: Sampling, noise: torch.Generator
) -> list[int]:
    """Sample the codes of an image after ``document``, ``how.least`` to ``how.most`` of them.

    Two rows run in parallel: one after the document, one after the begin token only; their log-probabilities
    are combined by ``guided``, as LaVIT did with transformers 4.33 (later versions start the second row
    differently). Words and the begin token are never sampled.
    """
    import torch

    length = len(document)
    ids = torch.zeros(2, length, dtype=torch.long)
    ids[0], ids[1, -1] = torch.tensor(document), vocabulary.begin
    mask = torch.ones_like(ids)
    mask[1, :-1] = 0
    ids, mask = ids.to(model.device), mask.to(model.device)
    places, cache, codes = (mask.cumsum(1) - 1).clamp_min(0), None, []
    for step in range(how.most):
        with torch.no_grad():
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        scores = guided(out.logits[:, -1], how.guidance).cpu()
        scores[: vocabulary.end + (step < how.least)] = -torch.inf
        token = _drawn(scores / how.temperature, how.top_k, noise)
        if token == vocabulary.end:
            break
        codes.append(token - vocabulary.words - 2)
        ids, cache = torch.full_like(ids[:, :1], token), out.past_key_values
        mask, places = torch.cat([mask, torch.ones_like(ids)], dim=1), places[:, -1:] + 1
    return codes


def _drawn(scores: torch.Tensor, top_k: int, noise: torch.Generator) -> int:
    """Sample one of the ``top_k`` most likely tokens, by the softmax of their ``scores``."""
    import torch

    best, tokens = scores.topk(min(top_k, len(scores)))
    return int(tokens[torch.multinomial(best.double().softmax(0), 1, generator=noise)])
