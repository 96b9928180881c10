"""``lavit``: pictures as words of a language model (Jin et al., ICLR 2024)."""
