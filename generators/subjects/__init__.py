"""Subject-driven methods: somebody or something that a few pictures show, drawn where a prompt says."""
