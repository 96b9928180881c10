"""Simulated A/B test: rounds of a shop in which people choose by the images they see."""
