"""Experiments of the papers: assumptions, contenders in a table, case studies, auxiliary generation."""
