"""Experiments of the papers: assumptions, read_methods in a table, case studies, auxiliary generation."""
