"""Training of rankers: the loop, the pairs that it learns from, and validation for early stopping."""
