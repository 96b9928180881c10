"""Generators: each draws pictures of reference items for the people of episodes."""
