"""Prompts for language models, small or large, and parsers of their answers.

Two prompts of RAGAR: p_k asks for keywords of one item, p_g for keywords of the taste behind several chosen
items. Both ask for keywords separated by commas, so that an answer is one line and can itself be an image
prompt. A third asks a chat model to recommend an item in two sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from string import Formatter

from recsim_gen.core.errors import SettingError

MOST_WORDS, MOST_KEYWORDS = 5, 20  # words per keyword, keywords per answer
LONGEST_TEXT = 60  # words of a title or caption; the rest is cut

_SENTENCE = re.compile(
    r"^[ \t*_-]*(caption|reason)[ \t*_]*:[ \t*_]*(.*\w.*)$", re.IGNORECASE | re.MULTILINE
)  # possibly bold, or a list item
_NUMBER = re.compile(r"^\s*(?:\d+\s*[.):]|[-*•])\s+")


def check_prompt(prompt: str) -> None:
    """Raise SettingError unless ``{subject}`` is in the prompt, and no other field."""
    try:
        fields = {name for _, name, _, _ in Formatter().parse(prompt) if name is not None}
    except ValueError as error:
        raise SettingError(f"prompt {prompt!r} is no template ({error})") from error
    if fields != {"subject"}:
        raise SettingError(f"a prompt with {{subject}} in it and no other field is wanted, got {prompt!r}")


def keywords_prompt(title: str, caption: str) -> str:
    """Return p_k, which asks for the keywords of one item; texts are cut at 60 words."""
    return (
        "Describe the product in keywords, separated by commas.\n"
        f"Title: {_one_line(title)}\n"
        f"Description: {_one_line(caption)}\n"
        "Keywords:"
    )


def taste_prompt(keywords_by_item: Sequence[Sequence[str]]) -> str:
    """Return p_g, which asks for the taste behind these items, oldest first, each with its keywords."""
    items = "".join(f"- {_one_line(keywords_line(keywords))}\n" for keywords in keywords_by_item)
    return (
        "Somebody chose these products. Describe what they like in keywords, separated by commas.\n"
        f"{items}"
        "They like:"
    )


def keywords_line(keywords: Sequence[str]) -> str:
    """Return keywords as one line, the expected form of an answer."""
    return ", ".join(keywords)


def parse_keywords(answer: str) -> list[str] | None:
    """Return the keywords of an answer, without repetitions; None if it is malformed.

    Accepts one line with commas, and a list with a number or a dash before each line. Malformed are an empty
    answer, an empty keyword, one of more than 5 words, and more than 20 keywords. For keywords without comma,
    line break or final full stop it is the inverse of ``keywords_line``.
    """
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    if len(lines) > 1 and not all(_NUMBER.match(line) for line in lines):
        return None
    parts = [part for line in lines for part in _NUMBER.sub("", line).split(",")]
    keywords = [part.strip().removesuffix(".").strip() for part in parts]
    if not keywords or not all(0 < len(keyword.split()) <= MOST_WORDS for keyword in keywords):
        return None
    unique = list({keyword.lower(): keyword for keyword in reversed(keywords)}.values())[::-1]
    return unique if len(unique) <= MOST_KEYWORDS else None


def explanation_prompt(history: Sequence[str], title: str, caption: str, attributes: int) -> str:
    """Return the prompt that asks why a person with this history would like an item.

    ``history`` has the descriptions of the chosen items, oldest first. The reason may name at most
    ``attributes`` attributes of the item.
    """
    chosen = "".join(f"- {_one_line(text)}\n" for text in history)
    most = "one attribute" if attributes == 1 else f"at most {attributes} attributes"
    return (
        f"Somebody chose these products, the latest last:\n{chosen}"
        "They are now shown this product:\n"
        f"Title: {_one_line(title)}\n"
        f"Description: {_one_line(caption)}\n"
        "Write two lines and nothing else.\n"
        "Caption: one sentence that describes the product to this person.\n"
        f"Reason: one sentence that names {most} of the product which this person likes, going by what they "
        "chose."
    )


def parse_explanation(answer: str) -> tuple[str, str]:
    """Return caption and reason of an answer to `explanation_prompt`; both "" if one is missing."""
    sentences = {name.lower(): " ".join(text.split()) for name, text in _SENTENCE.findall(answer)}
    return (sentences["caption"], sentences["reason"]) if len(sentences) == 2 else ("", "")


def _one_line(text: str) -> str:
    return " ".join(text.split()[:LONGEST_TEXT])


TASTE_KEYWORDS = 5  # for a catalogue whose keywords have no fixed order


def favourites(keywords_by_item: Sequence[Sequence[str]], *, aligned: bool) -> list[str]:
    """Return the most frequent keywords of several items, oldest first; ties go to the latest.

    ``aligned``: the k-th keyword of every item names the same attribute, and the k-th answer is the most
    frequent of these that is not yet among the answers; otherwise the 5 most frequent of all.
    """
    if not aligned:
        return _by_frequency(_flat(keywords_by_item))[:TASTE_KEYWORDS]
    chosen: list[str] = []
    for column in zip(*keywords_by_item, strict=True):
        chosen += _by_frequency([word for word in column if word not in chosen])[:1]
    return chosen


def _flat(keywords_by_item: Sequence[Sequence[str]]) -> list[str]:
    return [word for keywords in keywords_by_item for word in keywords]


def _by_frequency(words: Sequence[str]) -> list[str]:
    """Return each word once: the most frequent first, ties to the latest."""
    latest = {word: place for place, word in enumerate(words)}
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], -latest[word]))
