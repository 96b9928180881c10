"""Why would somebody like an item? Explainers, what they are set beside, and how right they are."""
