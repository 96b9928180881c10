"""Manifests of generated images: the user and item of each file, and its provenance.

A manifest is a JSON file beside its images::

    {"format": 1,
     "images": [{"file": "u12/i00003.png", "episode": "u12#0", "user": "u12", "item": "i00003", "seed": 0,
                 "generator": "ragar", "fingerprint": "7c0a…", "stream": 0}, …]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from recsim_gen.core.errors import DataError
from recsim_gen.core.store import write_json

FILE = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Provenance:
    """What an image was generated from.

    Parameters
    ----------
    episode, user, item
        Ids.
    seed
        Number of the image among those of its episode.
    generator
        Name of the generator.
    fingerprint
        Fingerprint of the generator: settings, models, catalogue, weights.
    stream
        Seed of the run.
    """

    generator: str
    fingerprint: str
    episode: str
    user: str
    item: str
    seed: int
    stream: int


@dataclass(frozen=True)
class Manifest:
    """The file at ``path``: ``images`` {file, relative to the folder of ``path``: its provenance}."""

    path: Path
    images: Mapping[str, Provenance]

    @property
    def folder(self) -> Path:
        """Folder of the images."""
        return self.path.parent

    def write(self) -> None:
        """Write the file, atomically."""
        images = [{"file": file, **asdict(made)} for file, made in self.images.items()]
        write_json(self.path, {"format": FORMAT, "images": images})


def read_manifest(path: str | Path) -> Manifest:
    """Read what `Manifest.write` wrote.

    Raises DataError for anything else, and for a file outside the manifest's folder.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {FORMAT} is wanted, got {content['format']!r}")
        images = {_inside(row): _provenance(row) for row in content["images"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a list of generated images is wanted, got none that can be read ({error})",
            file=path,
            remedy="Delete it: images are then known by their names, <user id>/<item id>.png",
        ) from error
    return Manifest(path, images)


def _provenance(row: Mapping[str, Any]) -> Provenance:
    made = Provenance(**{field.name: row[field.name] for field in fields(Provenance)})
    for name, value in asdict(made).items():
        kind = int if name in ("seed", "stream") else str
        if not isinstance(value, kind):
            raise ValueError(f"{name} of {row['file']!r} is {value!r}")
    return made


def _inside(row: Mapping[str, Any]) -> str:
    """Return the file's name if it is inside the folder; an untrusted list must not decide what is read."""
    file = str(row["file"])
    place = PurePosixPath(file)
    if place.is_absolute() or ".." in place.parts:
        raise ValueError(f"{file!r} is not inside its folder")
    return file
