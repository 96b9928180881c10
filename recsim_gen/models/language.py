"""Causal language models of transformers (Llama and its like), with their tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recsim_gen.models.checkpoint import Checkpoint


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


LONGEST_ANSWER = 64


def answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    batch: int = 100,
    longest: int = LONGEST_ANSWER,
) -> list[str]:
    """The likeliest answer of a causal language model to each prompt, without sampling."""
    import torch

    texts: list[str] = []
    for start in range(0, len(prompts), batch):
        inputs = tokenizer(list(prompts[start : start + batch]), padding=True, return_tensors="pt")
        inputs = inputs.to(model.device)
        with torch.inference_mode():
            tokens = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=longest,
                do_sample=False,
            )
        answered = tokens[:, inputs["input_ids"].shape[1] :]
        texts += [text.strip() for text in tokenizer.batch_decode(answered, skip_special_tokens=True)]
    return texts
