"""Classifier of whether a user would like an image, trained per data set: metric, settings, training."""
