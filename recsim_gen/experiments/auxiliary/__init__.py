"""Auxiliary generation: train a ranker with other images in place of the items' own, and compare."""
