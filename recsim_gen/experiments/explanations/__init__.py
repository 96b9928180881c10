"""Explanations of why a person would like an item: explainers, controls, and evaluation."""
