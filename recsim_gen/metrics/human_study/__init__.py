"""A human study: its page, its answers and its scores."""
