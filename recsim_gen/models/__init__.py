"""Model families that differ only by configuration: small embedded models, the paper's, or user-defined."""
