"""Subjects of a gallery drawn by subject-driven methods, to be held against their real pictures."""
