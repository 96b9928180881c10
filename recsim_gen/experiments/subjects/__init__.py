"""Draws the subjects of a gallery with subject-driven methods, for comparison with their real images."""
