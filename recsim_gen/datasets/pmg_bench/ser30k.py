"""PMG-Bench, stickers: SER30K with visual captions.

The folder holds ``images/<topic>/<file>``, ``captions.json`` {"topic/file": caption} and
``annotations/`` as SER30K has them (``image-level/{train,val,test}.json`` or the files themselves).
Nobody chose these stickers: as in ``ser30k``, a user is simulated and likes two topics.
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
    history_length: int = HISTORY_LENGTH,  # stickers in a history, at most
    reference: Reference = "another",  # its topic: another than those of the history (the paper), or own
    seed: int = 0,  # of the simulated users
) -> Dataset:
    """Stickers, and simulated users who like two topics each, from PMG-Bench's ``ser30k`` folder.

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
