"""Generated images as files: where each lies, what it says of itself, and which are still to be drawn.

``<folder>/seed<k>/<user id>/<item id>.png``, ids escaped as in URLs, and beside the users' folders a
manifest that lists them (see `recsim_gen.datasets.manifests`): ``judge --images <folder>/seed0`` reads one
image of each episode. Each file is written whole and holds, as text of the PNG, what it was made from;
equal settings give equal bytes.
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
"""Of each episode, the files to write, and what goes into each."""

AT_ONCE = 32  # episodes between two writes: what a kill can cost
_OTHERWISE = "Give another --output, or delete the pictures"


def place_of(made: Provenance) -> Path:
    """Where an image lies in the folder of its run."""
    return Path(f"seed{made.seed}") / _escaped(made.user) / f"{_escaped(made.item)}.png"


def _escaped(name: str) -> str:
    """As in a URL; dots in front, which would hide the file, too."""
    bare = name.lstrip(".")
    return "%2E" * (len(name) - len(bare)) + quote(bare, safe="")


def provenances(
    dataset: Dataset, episodes: Sequence[Episode], generator: Generator, *, n: int, stream: int
) -> dict[Provenance, Episode]:
    """Every image that is to be drawn, by episode, then by seed.

    Raises DataError where two would have one name: a user with a reference twice.
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
    """Return those of the planned that are not in ``folder``, by episode.

    Raises DataError where it holds a picture that was made otherwise.
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
    """Draw and write these images; return how many. Killed, it goes on with those that are not there."""
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
    """Write the manifest of each seed's folder in ``folder``: of all images that are there."""
    for seed in sorted(folder.glob("seed*")):
        made = {path: read_provenance(path) for path in sorted(seed.rglob("*.png"))}
        images = {p.relative_to(seed).as_posix(): m for p, m in made.items() if m is not None}
        Manifest(seed / FILE, images).write()


def images_for(generator: Generator, dataset: Dataset, episodes: Sequence[Episode], *, seed: int) -> Manifest:
    """Return the list of one image for each of these episodes; they are drawn once for all commands.

    Images are kept under what they depend on (generator, episode, ``seed`` of the noise), so that other
    episodes cost only those that are new. Killed, it goes on where it was. The list has the order of
    `place_of`. Raises DataError where two episodes have one user and one reference.
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
    """Write ``pixels`` (3, H, W) in [0, 1] as a PNG of 8 bits with its provenance; return its path."""
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    for name, value in asdict(made).items():
        about.add_itxt(name, str(value))
    with atomic(path) as temporary:
        as_image(pixels).save(temporary, format="PNG", pnginfo=about)
    return path


def as_image(pixels: np.ndarray) -> Image.Image:
    """Return ``pixels`` (3, H, W) in [0, 1] as an RGB picture of 8 bits."""
    from PIL import Image

    return Image.fromarray(np.rint(pixels.transpose(1, 2, 0) * 255).astype(np.uint8))


def read_provenance(file: Path | BinaryIO) -> Provenance | None:
    """Return what an image says of itself; None where another program wrote it, or there is none."""
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
    """Remove what killed runs left half-written; only while nobody else writes there."""
    for path in folder.rglob(".*.part"):
        path.unlink()


def first_images(folder: Path, count: int) -> list[tuple[Image.Image, Provenance]]:
    """The first images of seed 0 in a folder that was drawn, and what they were made from."""
    from PIL import Image

    shown: list[tuple[Image.Image, Provenance]] = []
    path = folder / "seed0" / FILE
    if not path.is_file():  # there was no episode to draw for
        return shown
    manifest = read_manifest(path)
    for file, made in list(manifest.images.items())[:count]:
        with Image.open(manifest.folder / file) as image:
            shown.append((image.convert("RGB"), made))
    return shown
