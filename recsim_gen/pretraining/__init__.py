"""Training of the embedded model family: its data, and one module per part."""
