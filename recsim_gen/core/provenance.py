"""Provenance of results: the git commit and the package versions."""

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
    """Return the commit of the checkout, with ``-dirty`` if modified; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that results depend on."""
    by_package = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            by_package[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return by_package
