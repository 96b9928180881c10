"""Causal language models of transformers (Llama and its like), with their tokenizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recsim_gen.profiles.checkpoint import Checkpoint


def load_language_model(
    checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, ready to infer, and its tokenizer.

    The tokenizer pads on the left, so that a batch can be continued, and with the end token where
    it has none for padding (Llama 2). Raises as ``Checkpoint.load_model`` does.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = checkpoint.load(lambda folder: AutoTokenizer.from_pretrained(folder, local_files_only=True))
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = checkpoint.load_model(AutoModelForCausalLM, torch_dtype).to(device)
    return model, tokenizer
