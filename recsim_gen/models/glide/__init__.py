"""GLIDE (Nichol et al. 2022): text to a small picture in pixels, and a second net that enlarges it."""
