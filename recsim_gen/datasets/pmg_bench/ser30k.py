"""PMG-Bench, stickers: SER30K with image captions.

The folder holds ``images/<topic>/<file>``, ``captions.json`` {"topic/file": caption} and ``annotations/`` as
in SER30K (``image-level/{train,val,test}.json`` or the files themselves). There are no users in the data: as
in ``ser30k``, they are simulated and like two topics each.
"""

from __future__ import annotations

from pathlib import Path

from recsim_gen.core.types import Dataset
from recsim_gen.datasets.ser30k import Layout, read
from recsim_gen.datasets.themes import HISTORY_LENGTH, N_USERS, Reference

LAYOUT = Layout(
    annotations=("annotations/image-level", "annotations"),
    images=("images", "images.tar", "images.tar.gz"),
    captions=("captions.json",),
)


def load(
    path: str | Path,
    *,
    n_users: int = N_USERS,  # simulated users; "#Users … 2230" (Table 1)
    history_length: int = HISTORY_LENGTH,  # most stickers in a history
    reference: Reference = "another",  # topic of the reference: outside the history (as in the paper), or own
    seed: int = 0,  # seed of the simulated users
) -> Dataset:
    """Load stickers, and simulate users who like two topics each, from PMG-Bench's ``ser30k`` folder.

    Settings and errors as in ``ser30k.load``; the same stickers give the same users.
    """
    return read(
        "pmg-ser30k",
        Path(path),
        LAYOUT,
        n_users=n_users,
        history_length=history_length,
        reference=reference,
        seed=seed,
    )
