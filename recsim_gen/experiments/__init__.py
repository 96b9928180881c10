"""Experiments of the papers: assumptions, tables of generators, case studies, auxiliary generation."""
