"""A human study: its page, the answers that came back, and their scores."""
