"""Generated images as files: their paths, their provenance, and which are still to be drawn.

An image is at ``<folder>/seed<k>/<user id>/<item id>.png``, with ids escaped as in URLs; each seed's folder
also has a manifest of its images (see `recsim_gen.datasets.manifests`). So ``judge --images <folder>/seed0``
reads one image per episode. Files are written atomically and carry their provenance as PNG text; equal
settings give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.datasets.manifests import FILE, Manifest, Provenance, read_manifest

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.types import Dataset, Episode

Todo = Mapping["Episode", Mapping[Path, Provenance]]
"""For each episode, the files to write with their provenance."""

AT_ONCE = 32  # episodes per batch: at most so many are lost if the process is killed
_OTHERWISE = "Give another --output, or delete the pictures"


def place_of(made: Provenance) -> Path:
    """Return the path of an image relative to the folder of its run."""
    return Path(f"seed{made.seed}") / _escaped(made.user) / f"{_escaped(made.item)}.png"


def _escaped(name: str) -> str:
    """Escape ``name`` as in a URL, and also leading dots, which would hide the file."""
    bare = name.lstrip(".")
    return "%2E" * (len(name) - len(bare)) + quote(bare, safe="")


def provenances(
    dataset: Dataset, episodes: Sequence[Episode], generator: Generator, *, n: int, stream: int
) -> dict[Provenance, Episode]:
    """Return {provenance: episode} of every image to draw, ordered by episode, then by seed.

    Raises DataError if two images would have the same path: a user with the same reference twice.
    """
    weights = generator.fingerprint
    users, items = dataset.interactions.user_ids, dataset.catalog.item_ids
    planned = {}
    paths: dict[Path, str] = {}
    for e in episodes:
        ids = e.id, str(users[e.user]), str(items[e.reference])
        for seed in range(n):
            made = Provenance(generator.name, weights, *ids, seed, stream)
            path = place_of(made)
            if path in paths:
                raise DataError(
                    f"episodes {paths[path]} and {e.id} have one user and one reference",
                    remedy="Leave one of them out",
                )
            paths[path] = e.id
            planned[made] = e
    return planned


def missing(folder: Path, planned: Mapping[Provenance, Episode]) -> Todo:
    """Return the planned images that are not yet in ``folder``, by episode.

    Raises DataError if ``folder`` holds an image that was made by another generator or with other settings.
    """
    by_path = {folder / place_of(made): made for made in planned}
    run = {(p.generator, p.fingerprint, p.stream) for p in planned}
    there = set()
    for path in sorted(folder.rglob("*.png")):
        made = read_provenance(path)
        alike = made is not None and (made.generator, made.fingerprint, made.stream) in run
        if made is None or not alike or by_path.get(path, made) != made:
            other = "another program" if made is None else f"{made.generator} with other settings or data"
            raise DataError(f"the picture was made by {other}", file=path, remedy=_OTHERWISE)
        there.add(path)
    todo: dict[Episode, dict[Path, Provenance]] = {}
    for path, made in by_path.items():
        if path not in there:
            todo.setdefault(planned[made], {})[path] = made
    return todo


def draw(generator: Generator, todo: Todo, *, rng: Rng) -> int:
    """Draw and write these images; return their number. A restart draws only those still missing."""
    drawn = 0
    episodes = list(todo)
    with bar(what=f"{generator.name}: drawing", total=len(episodes), unit="episode") as shown:
        for start in range(0, len(episodes), AT_ONCE):
            chunk = episodes[start : start + AT_ONCE]
            n = 1 + max(made.seed for episode in chunk for made in todo[episode].values())
            pixels = generator.generate(chunk, n=n, rng=rng).pixels
            for k, episode in enumerate(chunk):
                for path, made in todo[episode].items():
                    write_image(path, pixels[k * n + made.seed].numpy(), made)
                    drawn += 1
            shown.update(len(chunk))
    return drawn


def list_in_manifests(folder: Path) -> None:
    """Write a manifest of all existing images into each seed's folder."""
    for seed in sorted(folder.glob("seed*")):
        made = {path: read_provenance(path) for path in sorted(seed.rglob("*.png"))}
        images = {p.relative_to(seed).as_posix(): m for p, m in made.items() if m is not None}
        Manifest(seed / FILE, images).write()


def images_for(generator: Generator, dataset: Dataset, episodes: Sequence[Episode], *, seed: int) -> Manifest:
    """Return one image for each of these episodes; images are drawn once and shared by all commands.

    An image is cached under everything it depends on (generator, episode, ``seed`` of the noise), so further
    episodes only cost their own images, and an interrupted call resumes.

    Parameters
    ----------
    generator
        A generator that can draw: fitted or loaded.
    dataset
        Data set of the episodes.
    episodes
        (B,) episodes with different (user, reference).
    seed
        Seed of the noise.

    Returns
    -------
    Manifest
        The list of the images, ordered by `place_of`.

    Raises
    ------
    DataError
        If two episodes have the same user and reference.
    """
    planned = provenances(dataset, episodes, generator, n=1, stream=seed)
    folder = cache_dir() / "drawn" / fingerprint(generator.name, generator.fingerprint, seed)
    files = {made: f"{fingerprint(made, planned[made])}.png" for made in sorted(planned, key=place_of)}
    todo: dict[Episode, dict[Path, Provenance]] = {}
    for made, episode in planned.items():
        path = folder / files[made]
        if read_provenance(path) != made:
            todo.setdefault(episode, {})[path] = made
    draw(generator, todo, rng=Rng(seed))
    manifest = Manifest(
        folder / f"{fingerprint(tuple(episodes))}.json", {file: made for made, file in files.items()}
    )
    manifest.write()
    return manifest


def write_image(path: Path, pixels: np.ndarray, made: Provenance) -> Path:
    """Write ``pixels`` (3, H, W) in [0, 1] as an 8-bit PNG with its provenance; return the path."""
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    for name, value in asdict(made).items():
        about.add_itxt(name, str(value))
    with atomic(path) as temporary:
        as_image(pixels).save(temporary, format="PNG", pnginfo=about)
    return path


def as_image(pixels: np.ndarray) -> Image.Image:
    """Return ``pixels`` (3, H, W) in [0, 1] as an 8-bit RGB image."""
    from PIL import Image

    return Image.fromarray(np.rint(pixels.transpose(1, 2, 0) * 255).astype(np.uint8))


def read_provenance(file: Path | BinaryIO) -> Provenance | None:
    """Return the provenance stored in an image; None if there is none or another program wrote the file."""
    from PIL import Image

    try:
        with Image.open(file, formats=("PNG",)) as image:
            text = {field.name: str(image.info[field.name]) for field in fields(Provenance)}
        return Provenance(
            text["generator"],
            text["fingerprint"],
            text["episode"],
            text["user"],
            text["item"],
            int(text["seed"]),
            int(text["stream"]),
        )
    except (OSError, SyntaxError, ValueError, KeyError):
        return None


def sweep(folder: Path) -> None:
    """Remove unfinished files of killed runs; call it only while no other process writes there."""
    for path in folder.rglob(".*.part"):
        path.unlink()


def first_images(folder: Path, count: int) -> list[tuple[Image.Image, Provenance]]:
    """Return the first images of seed 0 in a folder of drawn images, with their provenance."""
    from PIL import Image

    shown: list[tuple[Image.Image, Provenance]] = []
    path = folder / "seed0" / FILE
    if not path.is_file():  # there were no episodes to draw for
        return shown
    manifest = read_manifest(path)
    for file, made in list(manifest.images.items())[:count]:
        with Image.open(manifest.folder / file) as image:
            shown.append((image.convert("RGB"), made))
    return shown
