"""Data sources, one file each; every loader returns a `Dataset`."""
