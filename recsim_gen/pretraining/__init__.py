"""How the embedded model family is trained: what on, the loop, and one module per part."""
