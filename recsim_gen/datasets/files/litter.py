"""Files that programs leave behind among data files."""

from __future__ import annotations

from collections.abc import Collection

_LITTER = frozenset(
    {
        "__macosx",  # in zip archives made by macOS, beside ._*
        "__pycache__",
        "ipynb_checkpoints",  # from Jupyter, unpacked without the dot
        "checkpoints",
        "lost+found",
        "$recycle.bin",
        "@eadir",  # from Synology's index
        "#recycle",
        "thumbs.db",
        "desktop.ini",
    }
)
_COPY = "-checkpoint"  # Jupyter's copy of "0.png" is "0-checkpoint.png"


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or internal to some program."""
    return name.startswith(".") or name.lower() in _LITTER


def is_copy(stem: str, beside: Collection[str]) -> bool:
    """Return whether a file is Jupyter's copy of one of those ``beside``; names are without suffix."""
    return stem.endswith(_COPY) and stem.removesuffix(_COPY) in beside
