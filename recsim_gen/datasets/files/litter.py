"""What programs leave behind among files, and is never data."""

from __future__ import annotations

from collections.abc import Collection

_LITTER = frozenset(
    {
        "__macosx",  # of zip archives made by macOS, beside ._*
        "__pycache__",
        "ipynb_checkpoints",  # of Jupyter, unpacked without the dot
        "checkpoints",
        "lost+found",
        "$recycle.bin",
        "@eadir",  # of Synology's index
        "#recycle",
        "thumbs.db",
        "desktop.ini",
    }
)
_COPY = "-checkpoint"  # Jupyter's copy of "0.png" is "0-checkpoint.png"


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or what a program keeps for itself."""
    return name.startswith(".") or name.lower() in _LITTER


def is_copy(stem: str, beside: Collection[str]) -> bool:
    """Whether a file is Jupyter's copy of one of those ``beside``; all by name without suffix."""
    return stem.endswith(_COPY) and stem.removesuffix(_COPY) in beside
