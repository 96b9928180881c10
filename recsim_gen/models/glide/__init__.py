"""GLIDE (Nichol et al. 2022): text to a small image in pixel space, and a second net that enlarges it."""
