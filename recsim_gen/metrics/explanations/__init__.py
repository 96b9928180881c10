"""Metrics of explanations: the features that reasons name, and the similarity of texts to references."""
