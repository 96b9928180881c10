"""The layouts of PMG-Bench (MoviePoster, POG, SER30K), read and written; pickles without running code."""
