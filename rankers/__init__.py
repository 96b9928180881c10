"""Rankers: MICRO, LATTICE, VBPR, DIN, taste, LightGCN, BPR and popularity."""
