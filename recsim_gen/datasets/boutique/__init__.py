"""Boutique, the embedded data set: a simulated shop whose tastes are known."""
