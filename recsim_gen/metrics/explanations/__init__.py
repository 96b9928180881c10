"""Explanations measured: what their reasons name, and how near their texts are to others."""
