"""Where a number comes from: the commit and the versions it was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "recsim-gen",
    "torch",
    "torch-geometric",
    "recbole",
    "numpy",
    "pandas",
    "scipy",
    "mlflow",
    "transformers",
    "diffusers",
    "timm",
    "open_clip_torch",
    "lpips",
)


def git_commit() -> str | None:
    """Commit of the checkout this package runs from, ``-dirty`` when changed; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, those installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
