"""How rankers are trained: the loop, the pairs that it learns from, and the validation that stops it."""
