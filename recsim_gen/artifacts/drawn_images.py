"""Generated pictures as files: where each lies, what it says of itself, and which are still to be drawn.

``<folder>/seed<k>/<user id>/<item id>.png``, ids escaped as in URLs, so that ``judge --images
<folder>/seed0`` reads one picture of each episode. Each file is written whole and holds, as text of the
PNG, what it was made from; equal settings give equal bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, cache_dir, fingerprint

if TYPE_CHECKING:
    from PIL import Image

    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.types import Dataset, Episode

AT_ONCE = 32  # episodes between two writes: what a kill can cost
_OTHERWISE = "Give another --output, or delete the pictures"


@dataclass(frozen=True)
class Provenance:
    """What a picture was made from; every field stands in its file under its name.

    ``fingerprint`` is the generator's (settings, models, catalogue, weights), ``seed`` the picture's
    number for its episode, ``stream`` the seed of the run.
    """

    generator: str
    fingerprint: str
    episode: str
    user: str
    item: str
    seed: str
    stream: str

    @property
    def path(self) -> Path:
        """Where it lies in its folder."""
        return Path(f"seed{self.seed}") / _escaped(self.user) / f"{_escaped(self.item)}.png"


def _escaped(name: str) -> str:
    return quote(name, safe="").replace(".", "%2E") if set(name) <= {"."} else quote(name, safe="")


def provenances(
    dataset: Dataset, episodes: Sequence[Episode], generator: Generator, *, n: int, stream: int
) -> dict[Provenance, Episode]:
    """Every picture that is wanted, by episode, then by seed.

    Raises DataError where two would have one name: a user with a reference twice.
    """
    weights = generator.fingerprint
    users, items = dataset.interactions.user_ids, dataset.catalog.item_ids
    wanted = {}
    paths: dict[Path, str] = {}
    for e in episodes:
        for seed in range(n):
            who = e.id, str(users[e.user]), str(items[e.reference])
            made = Provenance(generator.name, weights, *who, str(seed), str(stream))
            if made.path in paths:
                raise DataError(
                    f"episodes {paths[made.path]} and {e.id} have one user and one reference",
                    remedy="Leave one of them out",
                )
            paths[made.path] = e.id
            wanted[made] = e
    return wanted


def missing(folder: Path, wanted: Mapping[Provenance, Episode]) -> dict[Episode, list[Provenance]]:
    """Those of the wanted that are not in ``folder``, by episode.

    Raises DataError where it holds a picture that was made otherwise.
    """
    by_path = {folder / made.path: made for made in wanted}
    run = {(p.generator, p.fingerprint, p.stream) for p in wanted}
    there = set()
    for path in sorted(folder.rglob("*.png")):
        found = read_provenance(path)
        alike = found is not None and (found.generator, found.fingerprint, found.stream) in run
        if found is None or not alike or by_path.get(path, found) != found:
            other = "another program" if found is None else f"{found.generator} with other settings or data"
            raise DataError(f"the picture was made by {other}", file=path, remedy=_OTHERWISE)
        there.add(path)
    todo: dict[Episode, list[Provenance]] = {}
    for path, made in by_path.items():
        if path not in there:
            todo.setdefault(wanted[made], []).append(made)
    return todo


def draw(
    folder: Path, generator: Generator, todo: Mapping[Episode, Sequence[Provenance]], *, rng: Rng
) -> int:
    """Draw and write these pictures; how many. Killed, it goes on with what `missing` then gives."""
    drawn = 0
    episodes = list(todo)
    with bar(what=f"{generator.name}: drawing", total=len(episodes), unit="episode") as shown:
        for start in range(0, len(episodes), AT_ONCE):
            chunk = episodes[start : start + AT_ONCE]
            n = 1 + max(int(made.seed) for episode in chunk for made in todo[episode])
            pixels = generator.generate(chunk, n=n, rng=rng).pixels
            for k, episode in enumerate(chunk):
                for made in todo[episode]:
                    write_picture(folder, pixels[k * n + int(made.seed)].numpy(), made)
                    drawn += 1
            shown.update(len(chunk))
    return drawn


def pictures_for(
    generator: Generator, dataset: Dataset, episodes: Sequence[Episode], *, n: int = 1, seed: int
) -> Path:
    """The folder of ``n`` pictures of each of these episodes, and of no others; drawn once for all commands.

    A folder of ``<user id>/<item id>.png`` for ``n=1``; else one that holds such folders, ``seed0`` and
    on. Pictures are kept under what they depend on (generator, episode, ``seed`` of the noise), so that
    other episodes or a larger ``n`` cost only those that are new. Killed, it goes on where it was.
    Raises DataError where two episodes have one user and one reference.
    """
    wanted = provenances(dataset, episodes, generator, n=n, stream=seed)
    root = cache_dir() / "pictures" / fingerprint(generator.name, generator.fingerprint, seed)
    folder = root / fingerprint(tuple(episodes))
    kept = {made: root / "all" / f"{fingerprint(made, e)}.png" for made, e in wanted.items()}
    for made, known in kept.items():
        _share(known, folder / made.path)
    draw(folder, generator, missing(folder, wanted), rng=Rng(seed))
    for made, known in kept.items():
        _share(folder / made.path, known)
    return folder / "seed0" if n == 1 else folder


def _share(source: Path, target: Path) -> None:
    """Let ``target`` be the same file, where there is one at ``source`` and none there; a copy elsewhere."""
    if target.exists() or not source.exists():
        return
    with atomic(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)


def write_picture(folder: Path, pixels: np.ndarray, made: Provenance) -> Path:
    """Write ``pixels`` (3, H, W) in [0, 1] as a PNG of 8 bits with its provenance; give its path."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    for name, value in asdict(made).items():
        about.add_itxt(name, value)
    path = folder / made.path
    levels = np.rint(pixels.transpose(1, 2, 0) * 255).astype(np.uint8)
    with atomic(path) as temporary:
        Image.fromarray(levels).save(temporary, format="PNG", pnginfo=about)
    return path


def read_provenance(path: Path) -> Provenance | None:
    """What a picture says of itself; None where another program wrote it."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            return Provenance(**{name: str(image.info[name]) for name in Provenance.__annotations__})
    except (OSError, SyntaxError, ValueError, KeyError):
        return None


def sweep(folder: Path) -> None:
    """Remove what killed runs left half-written; only while nobody else writes there."""
    for path in folder.rglob(".*.part"):
        path.unlink()


def first_pictures(folder: Path, count: int) -> list[tuple[Image.Image, Provenance]]:
    """The first pictures of seed 0 in a folder, with what they say of themselves."""
    from PIL import Image

    found = []
    for path in sorted((folder / "seed0").rglob("*.png"))[:count]:
        made = read_provenance(path)
        if made is not None:
            with Image.open(path) as image:
                found.append((image.convert("RGB"), made))
    return found
