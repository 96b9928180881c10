"""Identity preservation as Finer-Personalization Rank measures it: retrieval in a gallery."""
