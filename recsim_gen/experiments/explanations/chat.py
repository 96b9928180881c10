"""Explanations written by a chat model, prompted by `models.prompts.explanation_prompt`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from recsim_gen.core.errors import SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.protocols import Family
from recsim_gen.core.types import Episode, Explanation
from recsim_gen.experiments.explanations.explainers import FromShop
from recsim_gen.models.language import answers, has_chat_template
from recsim_gen.models.prompts import explanation_prompt, parse_explanation

LONGEST_HISTORY = 20  # most items in the prompt, the latest ones
LONGEST = 160  # most tokens of an answer
TOGETHER = 8  # prompts per batch


class ChatExplainer(FromShop):
    """Lets the model write both sentences; the attributes of a reason are those of the catalogue found in it.

    So it may name attributes that the item does not have. An answer of another form counts as no caption and
    no reason.
    """

    name = "chat"

    @classmethod
    def check(cls, family: Family) -> None:
        """Raise SettingError also if the family's language model has no chat template."""
        super().check(family)
        if not has_chat_template(family.folder("language_model")):
            raise SettingError(
                "chat asks through a chat template, which the language model of these models has not: "
                "leave chat out, or give a family with a chat model (--models paper)"
            )

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Return the explanations by greedy decoding, with one prompt per episode."""
        model, tokenizer = self._shop.language.model
        prompts = [self._prompt(e, model, tokenizer) for e in episodes]
        reasons: list[Explanation] = []
        for start in bar(range(0, len(prompts), TOGETHER), "asking for reasons", unit="batch"):
            some = prompts[start : start + TOGETHER]
            reasons += [self._read(a) for a in answers(model, tokenizer, some, longest=LONGEST, chat=True)]
        return reasons

    def _prompt(self, episode: Episode, model: Any, tokenizer: Any) -> str:
        """Return the prompt with as many of the latest items as fit the model, at least one."""
        shop, row = self._shop, episode.reference
        text, title = shop.text(row), str(shop.dataset.catalog.titles[row]).strip()
        room = min(tokenizer.model_max_length, model.config.max_position_embeddings) - LONGEST
        latest = episode.history[-LONGEST_HISTORY:]
        for first in range(len(latest)):
            history = [shop.text(item) for item in latest[first:]]
            question = explanation_prompt(history, title or text, text, shop.attributes)
            chat = [{"role": "user", "content": question}]
            prompt: str = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            if len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) <= room:
                break
        return prompt

    def _read(self, answer: str) -> Explanation:
        caption, reason = parse_explanation(answer)
        return Explanation(mentioned(reason, self._shop.vocabulary), caption, reason)


def mentioned(sentence: str, words: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``words``, in lower case, that occur in the sentence as whole words, in its order."""
    text = sentence.lower()
    places = {word: re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words if word in text}
    first = {word: match.start() for word, match in places.items() if match}
    return tuple(sorted(first, key=lambda word: first[word]))
