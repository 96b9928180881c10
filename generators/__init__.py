"""Generators: each draws images of reference items, personalised for the people of episodes."""
