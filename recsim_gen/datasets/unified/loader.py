"""The unified JSON of the Personalized Multimodal Generation Benchmark: FLICKR-AES, POG and SER30K.

The folder holds ``train.json``, ``val.json`` and ``test.json``, directly or in ``processed_dataset/``, the
images, and optionally a file of styles. ``records`` describes the records, ``windows`` the rules by which
they become choices and episodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.types import Catalog
from recsim_gen.datasets.described import LONGEST, Described, described, missing_images
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.images import ImageFiles
from recsim_gen.datasets.files.json_files import MAX_MEGABYTES
from recsim_gen.datasets.files.paths import InsidePaths
from recsim_gen.datasets.files.tables import natural_places
from recsim_gen.datasets.splits import TEST, TRAIN, VALID
from recsim_gen.datasets.unified.records import Records, optional
from recsim_gen.datasets.unified.styles import StyledDataset, read_styles
from recsim_gen.datasets.unified.windows import Windows, choices

FILES = {"train.json": TRAIN, "val.json": VALID, "test.json": TEST}
PROCESSED = "processed_dataset"


def load(
    path: str | Path,
    *,
    windows: Windows = "apart",  # a person's test windows: without another's target (apart), or all
    image_prefix: str | None = None,  # beginning of absolute image paths that corresponds to the folder
    longest_caption: int = LONGEST,  # captions are cut at this number of characters
    max_megabytes: int = MAX_MEGABYTES,  # larger JSON files are not read
) -> StyledDataset:
    """Load items, choices, episodes, styles and aesthetic scores of a folder, or of one file, all of it test.

    ``image_path`` is relative to the folder, or absolute and inside it; ``image_prefix`` is the beginning of
    absolute paths, as written elsewhere, that corresponds to the folder. Captions are cut at
    ``longest_caption`` characters; a file of more than ``max_megabytes`` is not read. Raises DataError for a
    record of another form, for a path outside the folder, and if there is nothing to test on.
    """
    if windows not in get_args(Windows):
        raise SettingError(f"windows must be one of {', '.join(get_args(Windows))}, got {windows!r}")
    folder, files = _files(Path(path))
    records = Records()
    for file, split in files.items():
        records.read(file, split, max_megabytes=max_megabytes)
    ids = np.array(list(records.items), dtype=str)
    ids = ids[np.argsort(natural_places(ids))]
    row_of = {item: row for row, item in enumerate(ids.tolist())}
    chosen = choices(records, row_of, windows)
    reader = _images(records, ids, InsidePaths(folder, image_prefix))
    captions = [records.items[item].caption for item in ids.tolist()]
    words = described(captions, ids, longest=longest_caption)
    styles = dict(zip(records.person, records.style, strict=True)) | read_styles(
        folder, max_megabytes=max_megabytes
    )
    return StyledDataset(
        name="unified",
        catalog=_catalog(ids, words, reader),
        interactions=chosen.interactions,
        episodes=test_episodes(chosen.interactions, chosen.people),
        people=chosen.people,
        encoders=({} if reader is None else {"image": "efficientnet-lite0"})
        | ({"text": "minilm"} if words.told else {}),
        notes=(
            *chosen.notes,
            *(() if reader is None else missing_images(reader.present)),
            *words.notes,
        ),
        styles={person: words for person, words in styles.items() if words},
        aesthetic=optional([records.items[item].aesthetic for item in ids.tolist()], np.nan),
        leaks=chosen.leaks,
    )


def _files(path: Path) -> tuple[Path, dict[Path, str]]:
    """Return the data folder, and the split of each file of records."""
    if path.is_file():
        parent = path.absolute().parent
        return (parent.parent if parent.name == PROCESSED else parent), {path: TEST}
    for folder in (path, path / PROCESSED):
        if (folder / "test.json").exists():
            return path, {folder / f: split for f, split in FILES.items() if (folder / f).exists()}
    raise DataError(
        "a folder with test.json (in it or in processed_dataset) or one file of records is wanted",
        file=path,
        remedy="Correct the path",
    )


def _images(records: Records, ids: np.ndarray, inside: InsidePaths) -> ImageFiles | None:
    """Return the images that exist; None if no record names one."""
    members, named = [], 0
    for item_id in ids.tolist():
        item = records.items[item_id]
        if item.path is None or item.where is None:
            continue
        named += 1
        member = inside.member(item.path, item_id, file=item.where[0], row=item.where[1])
        if member is not None:
            members.append(member)
    return ImageFiles(members, ids) if named else None


def _catalog(ids: np.ndarray, words: Described, reader: ImageFiles | None) -> Catalog:
    """Return the items; SER30K's ids are ``topic/file``."""
    topic, slash, _ = np.char.partition(ids, "/").T
    return Catalog(
        item_ids=ids,
        titles=ids,
        captions=words.captions,
        categories=np.where(slash == "/", topic, "no category"),
        images=reader,
    )
