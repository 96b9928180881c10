"""Keywords of items by the language model (Eq. 6), and those of a history that are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.progress import bar
from recsim_gen.core.store import cached_array, fingerprint
from recsim_gen.models.prompts import keywords_line, keywords_prompt, parse_keywords

if TYPE_CHECKING:
    from recsim_gen.core.types import Catalog
    from recsim_gen.models.family import ModelFamily

SHARD = 64  # items asked about at once: always the same ones, so that a batch never changes an answer


def item_keywords(catalog: Catalog, family: ModelFamily, device: str | None) -> list[list[str]]:
    """w_i of every item: what the language model answers to p_k (Eq. 6); kept by content.

    An item of which it says nothing that can be read has its category, or no keyword.
    """
    prompts = [keywords_prompt(t, c) for t, c in zip(catalog.titles, catalog.captions, strict=True)]
    model = family.fingerprint("language_model")
    told: list[str] = []
    with bar(what="keywords of items", total=len(prompts), unit="item") as shown:
        for start in range(0, len(prompts), SHARD):
            part = prompts[start : start + SHARD]
            key = fingerprint("keywords", model, part)
            told += cached_array("keywords", key, partial(_ask, part, family, device)).tolist()
            shown.update(len(part))
    return [
        parse_keywords(answer) or [word for word in [str(category).strip()] if word]
        for answer, category in zip(told, catalog.categories, strict=True)
    ]


def _ask(prompts: Sequence[str], family: ModelFamily, device: str | None) -> np.ndarray:
    from recsim_gen.models.language import answers

    model, tokenizer = family.language_model(device=device)
    return np.array(answers(model, tokenizer, prompts, batch=SHARD), dtype=str)


def top_keywords(lists: Sequence[Sequence[str]], n: int, *, without: Collection[str] = ()) -> list[str]:
    """w′: the ``n`` most frequent keywords of several items, those of low frequency left out.

    Among equally frequent ones the first to appear; letters' case does not matter. They are told in the
    order of their mean places in the lists, which means something where lists are ordered: of two colours
    the first is the main one. ``without``: words in lower case that do not count, such as names of
    categories: they tell what things are, not what is liked of them.
    """
    places: dict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for words in lists:
        for place, word in enumerate(word for word in words if word.lower() not in without):
            places[word.lower()].append(place)
            first.setdefault(word.lower(), word)
    frequent = sorted(places, key=lambda word: -len(places[word]))[:n]
    return [first[word] for word in sorted(frequent, key=lambda word: fmean(places[word]))]


def key_line(category: str, keywords: Sequence[str]) -> str:
    """The text that E_key encodes: what the thing is, then what is liked of things like it."""
    first = [category.strip()] if category.strip() else []
    known = {word.lower() for word in first}
    return keywords_line([*first, *(word for word in keywords if word.lower() not in known)])
