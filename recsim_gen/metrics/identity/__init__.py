"""Identity preservation as measured by Finer-Personalization Rank: retrieval in a gallery."""
