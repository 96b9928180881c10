"""Causal language models of transformers (Llama and similar), with their tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recsim_gen.models.checkpoint import Checkpoint


def load_language_model(
    checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model in evaluation mode, and its tokenizer.

    The tokenizer pads on the left, so that a batch can be continued, and with the end token if it has no
    padding token (Llama 2). Raises as ``Checkpoint.load_model`` does.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = checkpoint.load(lambda folder: AutoTokenizer.from_pretrained(folder, local_files_only=True))
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = checkpoint.load_model(AutoModelForCausalLM, torch_dtype).to(device)
    return model, tokenizer


def has_chat_template(folder: Path) -> bool:
    """Return whether the tokenizer in a folder, as ``save_pretrained`` writes it, has a chat template.

    Only its files are inspected, since loading it takes seconds.
    """
    config = folder / "tokenizer_config.json"
    templates = (folder / "chat_template.jinja", folder / "additional_chat_templates")
    return any(path.exists() for path in templates) or (
        config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")
    )


LONGEST_ANSWER = 64


def answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    batch: int = 100,
    longest: int = LONGEST_ANSWER,
    chat: bool = False,
) -> list[str]:
    """Return the answer of a causal language model to each prompt, by greedy decoding.

    ``chat``: the prompts were formatted by the chat template, which has added the special tokens.
    """
    import torch

    texts: list[str] = []
    for start in range(0, len(prompts), batch):
        some = list(prompts[start : start + batch])
        inputs = tokenizer(some, padding=True, return_tensors="pt", add_special_tokens=not chat)
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
