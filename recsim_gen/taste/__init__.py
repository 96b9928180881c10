"""Taste in closed form: what somebody likes of each category, from what they chose, with its uncertainty."""
