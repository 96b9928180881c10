"""Similarity of texts to references, by torchmetrics: BLEU (Papineni et al. 2002), ROUGE-L (Lin 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def bleu(texts: Sequence[str], references: Sequence[str], *, words: int = 4) -> float:
    """Return BLEU of a whole set, in [0, 1], with n-grams of up to ``words`` words: BLEU-1 to BLEU-4.

    As in SacreBLEU: tokenizer ``13a``, lower case, no smoothing, so 0 if no n-gram of that length matches.
    """
    from torchmetrics.functional.text import sacre_bleu_score

    return float(sacre_bleu_score(texts, [[r] for r in references], n_gram=words, lowercase=True))


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return the (B,) F1 of the longest common subsequence of words, in [0, 1].

    Texts are lower-cased and split into alphanumeric words.
    """
    return np.array([_rouge_l(*pair) for pair in zip(texts, references, strict=True)])


@lru_cache(maxsize=1 << 16)
def _rouge_l(text: str, reference: str) -> float:
    from torchmetrics.functional.text import rouge_score

    return float(rouge_score(text, reference, rouge_keys="rougeL")["rougeL_fmeasure"])
