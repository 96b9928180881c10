"""Where the repository is, and the real data that some tests read (marker ``real``)."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("RECSIM_REAL_DATA", ROOT.parent / "shared" / "data"))
