"""Taste in closed form: what a person likes in each category, given choices, with its uncertainty."""
