"""``ragar``: retrieval-augmented personalised images, guided by a ranker (Ling et al.)."""

from generators.ragar.generator import RAGAR

__all__ = ["RAGAR"]
