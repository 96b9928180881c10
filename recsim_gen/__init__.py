"""recsim-gen: let a recommender judge, reward and re-learn from generated images, offline.

The modules of this package are its commands (``python -m recsim_gen.<module>``); its sub-packages are the
library. Importing it has no side effects.
"""

__version__ = "0.1.0"
