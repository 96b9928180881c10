"""Checks whether a dataset can be used: its content, its problems, and the memory it takes.

Errors of files (a bad row, an unknown id, text that is not UTF-8) are raised by the loader before. What the
loader left out by rule is in the notes of the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Dataset, ImageReader
from recsim_gen.datasets.files.names import likely
from recsim_gen.datasets.leaks import STORED, duplicates, find_leaks
from recsim_gen.datasets.unified.styles import StyledDataset

WIDTHS = {"efficientnet-lite0": 1280, "minilm": 384, "pixels": 384, "words": 512}
"""Dimensions of the default encoders; any other encoder counts as the widest of these."""

NEIGHBOURS, GRAPHS, EDGE_BYTES = 10, 2, 20  # MICRO: k; from raw and learned features; two int64, a float32
TOLD = 10  # most examples in a note
_MIB = 2**20
_NEVER_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")


@dataclass(frozen=True)
class Examined:
    """Result of ``examine``.

    Parameters
    ----------
    counts
        {name: number}.
    problems
        Reasons why the data cannot be used, as sentences; empty if they can.
    remarks
        What users of the data should know, as sentences.
    """

    counts: dict[str, int]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """``"yes"``, or ``"no: "`` and the reasons."""
        return f"no: {'; '.join(self.problems)}" if self.problems else "yes"


def examine(dataset: Dataset, *, sample: int | None = None) -> Examined:
    """Count and check everything; decodes all images, or a random ``sample`` of them.

    Raises DataError if an image file cannot be read at all.
    """
    catalog = dataset.catalog
    numbers, problems = counts(dataset), _lacking(dataset)
    remarks: list[str] = []
    for part in (_pictures(catalog, sample), _texts(catalog), _leaks(dataset), _unlearnable(dataset)):
        numbers |= part.counts
        problems += part.problems
        remarks += part.remarks
    return Examined(numbers | memory(dataset), tuple(problems), tuple(remarks))


def _pictures(catalog: Catalog, sample: int | None) -> Examined:
    if catalog.images is None:
        return Examined({}, (), ())
    decoded = decode(catalog.images, sample=sample)
    equal = duplicates(catalog.images, len(catalog))
    numbers = {
        "pictures decoded": decoded.n,
        "broken pictures": len(decoded.broken),
        "groups of equal pictures": len(equal),
        "MiB of pictures, decoded": ceil(decoded.mean_bytes * int(catalog.images.present.sum()) / _MIB),
    }
    broken = [f"{len(decoded.broken):,} pictures cannot be decoded, first {b}" for b in decoded.broken[:1]]
    same = [_told("byte-identical pictures", [catalog.item_ids[rows] for rows in equal])] if equal else []
    return Examined(numbers, tuple(broken), tuple(same))


def _texts(catalog: Catalog) -> Examined:
    garbled = garbled_texts(catalog)
    numbers = {
        "empty captions": int(blank_captions(catalog).sum()),
        "items with garbled text": int(garbled.sum()),
    }
    ids = catalog.item_ids[garbled][:, None]
    remarks = [_told("text of another encoding, by item", ids)] if garbled.any() else []
    return Examined(numbers, (), tuple(remarks))


def _leaks(dataset: Dataset) -> Examined:
    leaks = find_leaks(dataset)
    numbers = {
        "targets in their own history": dataset.leaks if isinstance(dataset, StyledDataset) else 0,
        "test choices known to the person": leaks.known,
        "episodes that show the reference": leaks.same_picture,
        "people in test and elsewhere": leaks.shared_people,
    }
    return Examined(numbers, (), leaks.sentences())


def _unlearnable(dataset: Dataset) -> Examined:
    """Find users who chose every item, so that their choices cannot be compared with others."""
    pairs = np.unique(np.stack(dataset.interactions.only("train", "valid")), axis=1)
    full = np.bincount(pairs[0], minlength=1) == len(dataset.catalog)
    remark = (f"{full.sum():,} users chose every item: rankers that learn by comparing leave them out",)
    return Examined({}, (), remark if full.any() else ())


def counts(dataset: Dataset) -> dict[str, int]:
    """Return {name: number} of everything in the dataset; no image is read."""
    catalog, chosen = dataset.catalog, dataset.interactions
    numbers = {
        "choices": len(chosen),
        "people": len(np.unique(dataset.people)),
        "users": chosen.n_users,
        "episodes": len(dataset.episodes),
        "items": len(catalog),
        "items chosen": len(np.unique(chosen.item)),
        "categories": len(np.unique(catalog.categories)),
    }
    images = catalog.images
    if images is not None:
        lacking = ~images.present
        numbers |= {
            "pictures": int((~lacking).sum()),
            "items without picture": int(lacking.sum()),
            "choices of items without picture": int(lacking[chosen.item].sum()),
            "pictures of unknown items": images.unmatched if isinstance(images, STORED) else 0,
        }
    return numbers


@dataclass(frozen=True)
class Decoded:
    """``n`` images tried; ``broken``: what is wrong with each that failed; ``mean_bytes`` as RGB."""

    n: int
    broken: tuple[str, ...]
    mean_bytes: float


def decode(images: ImageReader, *, sample: int | None = None) -> Decoded:
    """Decode all images that are present, or a random ``sample`` of them."""
    rows = np.flatnonzero(images.present)
    if sample is not None and sample < len(rows):
        rows = np.sort(Rng(0).for_("check").numpy().choice(rows, sample, replace=False))
    broken, size = [], 0
    for row in bar(rows.tolist(), "decoding pictures", unit="pictures"):
        try:
            picture = images.read(row)
        except DataError as error:
            broken.append(str(error))
            continue
        size += picture.width * picture.height * 3
    return Decoded(len(rows), tuple(broken), size / max(len(rows) - len(broken), 1))


def blank_captions(catalog: Catalog) -> np.ndarray:
    """Return (n,) bool: items whose caption is blank; their title is used instead."""
    return np.char.str_len(np.char.strip(catalog.captions)) == 0


def garbled_texts(catalog: Catalog) -> np.ndarray:
    """Return (n,) bool: items whose title or caption was read in the wrong encoding.

    That is: it contains characters that no text has (control characters, U+FFFD), or is UTF-8 that was
    decoded as Latin-1 ("AmÃ©lie").
    """
    return _garbled(catalog.titles) | _garbled(catalog.captions)


def _garbled(texts: np.ndarray) -> np.ndarray:
    unique, where = np.unique(texts, return_inverse=True)
    return np.array([_is_garbled(text) for text in unique.tolist()], dtype=bool)[where.reshape(-1)]


def _is_garbled(text: str) -> bool:
    if _NEVER_IN_TEXT.search(text):
        return True
    if text.isascii():
        return False
    try:
        text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return False
    return True


def memory(dataset: Dataset) -> dict[str, int]:
    """Return the estimated MiB of the features (n·d float32 per modality) and of MICRO's item graphs.

    Each modality has two graphs of n·k edges, from raw and from learned features; k = 10.
    """
    n, widest = len(dataset.catalog), max(WIDTHS.values())
    width = sum(WIDTHS.get(spec, widest) for spec in dataset.encoders.values())
    edges = len(dataset.encoders) * GRAPHS * NEIGHBOURS * n
    return {
        "MiB of features": ceil(4 * width * n / _MIB),
        "MiB of item graphs": ceil(EDGE_BYTES * edges / _MIB),
    }


def _lacking(dataset: Dataset) -> list[str]:
    """Return what is missing that nothing works without."""
    catalog, problems = dataset.catalog, []
    if not dataset.episodes:
        problems.append("no episode: no user has a test choice and a history")
    problems += [
        f"no {split} choices"
        for split in ("train", "valid")
        if not (dataset.interactions.split == split).any()
    ]
    images = catalog.images
    if "image" in dataset.encoders and (images is None or not images.present.any()):
        problems.append("no item has a picture" + _strays(catalog))
    mute = blank_captions(catalog) & (np.char.str_len(np.char.strip(catalog.titles)) == 0)
    if "text" in dataset.encoders and mute.any():
        problems.append(
            f"{mute.sum():,} items have neither caption nor title, first {str(catalog.item_ids[mute][0])!r}"
        )
    return problems


def _strays(catalog: Catalog) -> str:
    """Describe image files if none of them belongs to an item: how they are named instead."""
    if not isinstance(catalog.images, STORED) or not catalog.images.strays:
        return ""
    strays, ids = catalog.images.strays, catalog.item_ids.tolist()
    return (
        f": {len(strays):,} pictures are of none, such as {str(strays[0])!r}, first item {str(ids[0])!r}"
        f"{likely(strays, ids)}"
    )


def _told(what: str, groups: Sequence[np.ndarray]) -> str:
    """Return ``"4 groups of byte-identical pictures: 1 = 2, 5 = 6"``, at most ``TOLD`` groups."""
    shown = ", ".join(" = ".join(ids.tolist()) for ids in groups[:TOLD])
    return f"{what}: {shown}" + (f" and {len(groups) - TOLD:,} more" if len(groups) > TOLD else "")
