"""``lavit``: images as tokens of a language model (Jin et al., ICLR 2024)."""

from generators.lavit.generator import LaVIT

__all__ = ["LaVIT"]
