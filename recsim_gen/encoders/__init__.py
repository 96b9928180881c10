"""Text and image encoders with a common interface; features are cached by content."""
