"""Tokenizers trained on a catalogue's text: byte-level BPE, small, and able to encode any string.

Both are ordinary transformers classes and can be loaded offline by the ordinary loaders. Words of the
catalogue become one token each; other words are split into bytes, so no string is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

VOCABULARY = 4096
"""Maximal size of a vocabulary; a catalogue with few words needs fewer tokens."""

SHORTEST, LONGEST = 32, 77  # 77: the length of CLIP and Stable Diffusion


def clip_tokenizer(texts: Sequence[str], *, vocabulary: int = VOCABULARY) -> CLIPTokenizer:
    """Return a CLIPTokenizer trained on ``texts``: lower case, white space joined, byte-level BPE.

    It pads with its end token, like Stable Diffusion's. ``model_max_length`` is 1.5 times the longest of
    ``texts``, rounded up to a multiple of 8, in [32, 77]: shorter padding makes all models faster.
    """
    from transformers import CLIPTokenizer

    suffix, start, end = "</w>", "<|startoftext|>", "<|endoftext|>"
    bare = CLIPTokenizer().backend_tokenizer
    merges: Any = _merges(texts, bare.pre_tokenizer, bare.normalizer, vocabulary - 514, suffix)
    # A byte may also end a word; CLIP's own vocabulary has these tokens, too.
    letters = sorted(_alphabet())
    words = [*letters, *(letter + suffix for letter in letters), *("".join(pair) for pair in merges)]
    vocab = {word: code for code, word in enumerate(dict.fromkeys([*words, start, end]))}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges)
    longest = max((len(codes) for codes in tokenizer([*texts] or [""])["input_ids"]), default=0)
    room = -(-(longest * 3 // 2) // 8) * 8
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=min(max(room, SHORTEST), LONGEST))


def llama_tokenizer(
    texts: Sequence[str], *, vocabulary: int = VOCABULARY, max_length: int = 512
) -> PreTrainedTokenizerFast:
    """Return a tokenizer for LlamaForCausalLM trained on ``texts``: exact byte-level BPE.

    It prepends ``<s>`` and pads with ``<pad>`` on the left, for generation; ``</s>`` ends an answer. Decoding
    restores every string exactly, except strings that contain one of these three.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>"]
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    merges = _merges(texts, split, None, vocabulary - 256 - len(special), "")
    words = [*special, *sorted(_alphabet()), *("".join(pair) for pair in merges)]
    vocab = {word: code for code, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def _alphabet() -> list[str]:
    """Return the 256 characters that represent bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return ByteLevel.alphabet()


def _merges(
    texts: Sequence[str], pre_tokenizer: Any, normalizer: Any, most: int, suffix: str
) -> list[tuple[str, str]]:
    """Return at most ``most`` merges, learned from ``texts``, most frequent first."""
    from tokenizers import Tokenizer, models, trainers

    learner = Tokenizer(models.BPE(end_of_word_suffix=suffix))
    learner.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        learner.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=most + 512,
        initial_alphabet=_alphabet(),
        show_progress=False,
        end_of_word_suffix=suffix,
    )
    learner.train_from_iterator(texts, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges[:most]]
