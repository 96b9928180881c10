"""Subject-driven methods: draw the subject of a few images in the scene of a prompt."""
