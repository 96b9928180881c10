"""Auxiliary generation: train a ranker with generated images in place of the items' own, and compare."""
