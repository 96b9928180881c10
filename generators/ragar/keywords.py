"""``keywords``: Stable Diffusion with RAGAR's keywords as prompt, without any training."""

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
    """Settings, as for ``ragar``."""

    k: int = RAGARConfig.k  # number of retrieved items; 0: the whole history
    history: int = RAGARConfig.history  # number of latest history items used
    keywords: int = RAGARConfig.keywords  # n: number of most frequent keywords kept
    reference: Literal["category", "counted", "first"] = "category"  # what the prompt has of the reference

    def __post_init__(self) -> None:
        _ = self.of_evidence

    @property
    def of_evidence(self) -> RAGARConfig:
        """Return the corresponding RAGAR settings. Raises SettingError for a value out of range."""
        return RAGARConfig(k=self.k, history=self.history, keywords=self.keywords, reference=self.reference)


class KeywordsAlone(SamplingGenerator):
    """Draws the reference's category and the most frequent keywords of the retrieved items (Eq. 1–6)."""

    name = "keywords"
    config_class = KeywordsConfig
    roles = ("diffusion", "text_encoder", "language_model")

    def conditions(self, episode: Episode) -> Conditions:
        """Return E_key. Raises DataError for a history shorter than k, or a reference without text."""
        (looks,) = self._evidence.looks([episode])
        text = self._evidence.text(episode.reference, looks.keywords[0])
        return Conditions(self._sampler.states([text])[0], text=text)

    def ready(self) -> Sampler:
        """Return the family's sampler, loaded on first use."""
        return self._sampler

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self.catalog, self.family, self.config.of_evidence, self.device)
