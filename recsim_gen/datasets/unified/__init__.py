"""The JSON layout of the Personalized Multimodal Generation Benchmark, read and written."""
