"""Counterfactual judging of images: rank changes, guards, controls and the reward."""
