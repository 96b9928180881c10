"""``keywords``: Stable Diffusion on RAGAR's keywords alone, so what the prompt does without any training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from generators.base import SamplingGenerator
from generators.ragar.config import RAGARConfig
from generators.ragar.evidence import Evidence
from generators.sampler import Conditions, Sampler

if TYPE_CHECKING:
    from recsim_gen.core.types import Episode


@dataclass(frozen=True)
class KeywordsConfig:
    """Settings, as of ``ragar``."""

    k: int = RAGARConfig.k  # items retrieved; 0: the whole history
    history: int = RAGARConfig.history  # the latest items of a history that are looked at
    keywords: int = RAGARConfig.keywords  # n: the most frequent keywords that are kept
    reference: Literal["category", "counted", "first"] = "category"  # what is said of the reference

    def __post_init__(self) -> None:
        _ = self.of_evidence

    @property
    def of_evidence(self) -> RAGARConfig:
        """The same as RAGAR's settings. Raises SettingError for a value out of range."""
        return RAGARConfig(k=self.k, history=self.history, keywords=self.keywords, reference=self.reference)


class KeywordsAlone(SamplingGenerator):
    """Draws the reference's category and the most frequent keywords of what is retrieved (Eq. 1–6)."""

    name = "keywords"
    config_class = KeywordsConfig
    roles = ("diffusion", "text_encoder", "language_model")

    def conditions(self, episode: Episode) -> Conditions:
        """E_key. Raises DataError for a history shorter than k, or a reference without text."""
        (looks,) = self._evidence.looks([episode])
        text = self._evidence.text(episode.reference, looks.keywords[0])
        return Conditions(self._sampler.states([text])[0], text=text)

    def ready(self) -> Sampler:
        """The family's, loaded when it is first needed."""
        return self._sampler

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self.catalog, self.family, self.config.of_evidence, self.device)
