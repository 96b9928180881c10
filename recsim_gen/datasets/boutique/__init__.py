"""Boutique, the embedded data set: a simulated shop whose users' preferences are known."""
