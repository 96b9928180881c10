"""The language model of a family: a small LlamaForCausalLM that answers the two prompts with keywords.

p_k: title and caption of an item → its keywords. p_g: the keywords of several chosen items → the keywords of
the taste behind them: their most frequent values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic
from recsim_gen.core.training_loop import Schedule, fit, seeded
from recsim_gen.models.language import answers
from recsim_gen.models.prompts import parse_keywords
from recsim_gen.pretraining.instruction_data import LONGEST_HISTORY, InstructionData
from recsim_gen.pretraining.saving import save_at_half
from recsim_gen.pretraining.tokens import llama_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

FOLDER = "llm"
SCHEDULE = Schedule(steps=2000, lr=2e-3, warmup=50, weight_decay=0.05)
BATCH = 16  # batch size of each of the two prompts
LAYERS, WIDTH, HEADS, FEED_FORWARD = 4, 192, 6, 512
PROMPTS = 0.5  # weight of the prompts' own tokens: predicting the next item of a history teaches its taste
MEASURED, TASTES = 1000, 200  # number of held-out items, and of histories of them, for the evaluation


def pretrain(
    source: PretrainingSource,
    output: Path,
    *,
    rng: Rng,
    minutes: float | None = None,
    tracker: Tracker | None = None,
    schedule: Schedule = SCHEDULE,
) -> dict[str, Any]:
    """Train a ``LlamaForCausalLM`` on both prompts and write ``OUTPUT/llm``.

    Loss: cross-entropy of the answers' tokens, plus half of that of the prompts'. Returns the losses and the
    result of ``measure``.
    """
    data = InstructionData(source, source.rows("train"))
    tokenizer = llama_tokenizer(_texts(data, rng.for_("texts")))
    model = new_llama(tokenizer, rng.for_("weights"))

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        """Return the loss of a batch of items and a batch of random histories."""
        random = step.numpy()
        items = [data.item(row) for row in source.draw(BATCH, random)]
        length = 1 + int(LONGEST_HISTORY * random.random() ** 2)  # one length per batch: no padding
        tastes = [data.taste(data.history(length, random)) for _ in range(BATCH)]
        keywords, item_prompts = instruction_loss(model, tokenizer, items)
        taste, taste_prompts = instruction_loss(model, tokenizer, tastes)
        read = PROMPTS * (item_prompts + taste_prompts)
        return {"loss": keywords + taste + read, "keywords": keywords, "taste": taste, "prompts": read}

    fitted = fit(
        FOLDER,
        model,
        loss,
        schedule,
        output=output,
        data=source.fingerprint,
        rng=rng,
        minutes=minutes,
        tracker=tracker,
    )
    with atomic(output / FOLDER) as temporary:
        save_at_half(model, temporary)
        tokenizer.save_pretrained(temporary)
    return {**fitted, **measure(model, tokenizer, source)}


def new_llama(tokenizer: PreTrainedTokenizerBase, rng: Rng) -> LlamaForCausalLM:
    """Return an untrained LlamaForCausalLM: 1.8 M parameters and its vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with seeded(rng):
        return LlamaForCausalLM(config)


def instruction_loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cross-entropy of the answers' tokens, with the end token, and that of the prompts'."""
    import torch
    import torch.nn.functional as F

    prompts = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
    answers = tokenizer([" " + answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    tokens = [(p, [*a, tokenizer.eos_token_id]) for p, a in zip(prompts, answers, strict=True)]
    width = max(len(p) + len(a) for p, a in tokens)
    ids = torch.full((len(tokens), width), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    answered = torch.zeros_like(ids, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(tokens):  # padding on the left, as in generation
        start = width - len(prompt) - len(answer)
        ids[row, start:] = torch.tensor([*prompt, *answer])
        mask[row, start:] = 1
        answered[row, -len(answer) :] = True
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    each = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    prompted = mask[:, :-1].bool() & ~answered[:, 1:]  # no token is predicted from padding
    return each[answered[:, 1:]].mean(), each[prompted].mean()


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    source: PretrainingSource,
    split: str = "test",
) -> dict[str, float]:
    """Measure how well both prompts are answered for the first 1,000 items of a split.

    ``attribute_recall``: share of the items' keywords (Boutique: the attributes that the caption names) among
    those of the answers to p_k. ``malformed``: share of answers, to either prompt, that ``parse_keywords``
    rejects. ``taste_recall``: share of correct keywords in the answers to p_g, for 200 histories of up to 20
    items of the split; any of equally frequent values is correct.
    """
    data = InstructionData(source, source.rows(split))
    rows = data.rows[:MEASURED].tolist()
    described = answers(model, tokenizer, [data.item(row)[0] for row in rows])
    random = Rng(0).for_("taste", split).numpy()
    lengths = random.integers(1, LONGEST_HISTORY + 1, size=TASTES).tolist()
    histories = [data.history(length, random) for length in lengths]
    liked = answers(model, tokenizer, [data.taste(history)[0] for history in histories])
    return {
        "attribute_recall": round(attribute_recall(described, [data.keywords[row] for row in rows]), 4),
        "malformed": round(malformed([*described, *liked]), 4),
        "taste_recall": round(taste_recall(liked, [data.liked(history) for history in histories]), 4),
    }


def attribute_recall(answers: Sequence[str], right: Sequence[Sequence[str]]) -> float:
    """Return the share of the ``right`` keywords, over all items, that are in the answer."""
    named = total = 0
    for answer, keywords in zip(answers, right, strict=True):
        got = _lower(answer)
        named += sum(word.lower() in got for word in keywords)
        total += len(keywords)
    return named / total


def malformed(answers: Sequence[str]) -> float:
    """Return the share of answers that ``parse_keywords`` rejects."""
    return float(np.mean([parse_keywords(answer) is None for answer in answers]))


def taste_recall(answers: Sequence[str], right: Sequence[Sequence[set[str]]]) -> float:
    """Return the share of the ``right`` sets, over all histories, of which the answer names a keyword."""
    named = [
        not {word.lower() for word in one}.isdisjoint(_lower(answer))
        for answer, sets in zip(answers, right, strict=True)
        for one in sets
    ]
    return float(np.mean(named))


def _lower(answer: str) -> set[str]:
    return {word.lower() for word in parse_keywords(answer) or []}


def _texts(data: InstructionData, rng: Rng) -> list[str]:
    """Return the texts that the tokenizer is trained on: every item once, and some histories."""
    random = rng.numpy()
    items = [" ".join(data.item(row)) for row in data.rows.tolist()]
    return items + [" ".join(data.taste(data.history(3, random))) for _ in range(100)]
