"""Text features without weights that tell what a word says from where it stands: words and their phrases."""

from __future__ import annotations

import re
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recsim_gen.core.store import fingerprint
from recsim_gen.encoders import words
from recsim_gen.encoders.words import Words

ARTICLES = frozenset({"a", "an", "the"})
TOKEN = re.compile(r"(?u)\w+|[^\w\s]")


class Phrases(Words):
    """Words of a text, each once alone and once with what opens its phrase; hashed as `words` does.

    A punctuation mark opens a phrase, and so does a function word (an English stop word that is no article).
    "A blue hat with red dots" has red as "with red", "a hat in red and blue" as "in red", where a bag of
    words has the same words twice. Nothing is fitted, so a text has the same features in every catalogue.
    """

    WIDTH = 1024

    def __init__(self, *, device: str = "cpu") -> None:  # device: as of every encoder; unused
        files = [Path(str(name)).read_bytes() for name in (__file__, words.__file__)]
        self.fingerprint = fingerprint("phrases", files, version("scikit-learn"))

    @cached_property
    def _hashers(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import HashingVectorizer

        _, letters = super()._hashers
        return HashingVectorizer(n_features=self.WIDTH, analyzer=phrases, norm=None), letters


def phrases(text: str) -> list[str]:
    """Each word of ``text`` that is no stop word: alone, and after the word that opens its phrase."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found, opener = [], ""
    for token in TOKEN.findall(text.lower()):
        if not token[0].isalnum():
            opener = ""
        elif token in ENGLISH_STOP_WORDS:
            opener = opener if token in ARTICLES else token
        else:
            found += [token, f"{opener} {token}"]
    return found
