"""Families of models, which differ by configuration only: small ones that ship, the paper's, your own."""
