"""SER30K as published: stickers of many topics, each with an emotion and sometimes a text.

Liu et al., "SER30K: A Large-Scale Dataset for Sticker Emotion Recognition", ACM MM 2022. The folder holds
``Images/<topic>/<file>`` and ``Annotations/image-level/{train,val,test}.json``, each an object whose
``annotations`` is a list of ``topic``, ``file_name``, ``anno`` (emotion, 1 to 7) and ``text``. There are no
users in the data: they are simulated, see ``themes``. Its own splits are for emotion recognition and are
joined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.described import captions_beside, described, missing_images
from recsim_gen.datasets.files.images import ImageFiles, list_members
from recsim_gen.datasets.files.json_files import Fields, read_json
from recsim_gen.datasets.files.paths import first_existing, picture_store
from recsim_gen.datasets.themes import HISTORY_LENGTH, N_USERS, Reference, theme_episodes

PARTS = ("train.json", "val.json", "test.json")
N_EMOTIONS = 7


@dataclass(frozen=True)
class Layout:
    """Locations of annotations, images and captions: of each, the first that exists in the folder."""

    annotations: tuple[str, ...]
    images: tuple[str, ...]
    captions: tuple[str, ...]


LAYOUT = Layout(
    annotations=("Annotations/image-level", "Annotations"),
    images=("Images.tar", "Images"),
    captions=("ser30k_captions.json", "Annotations/ser30k_captions.json"),
)


@dataclass(frozen=True)
class Sticker:
    """One annotation; ``emotion`` in words if the file names it, else its number, else ``""``."""

    topic: str
    file_name: str
    emotion: str
    text: str

    @property
    def item_id(self) -> str:
        """``topic/file``, as in public code."""
        return f"{self.topic}/{self.file_name}"

    @property
    def caption(self) -> str:
        """``a sticker of panda bear, emotion 3, with the words "so cute"``."""
        topic = self.topic.lstrip("0123456789-_ ").replace("-", " ").replace("_", " ") or self.topic
        emotion = f", {self.emotion}" if self.emotion else ""
        words = f', with the words "{self.text}"' if self.text else ""
        return f"a sticker of {topic}{emotion}{words}"


def load(
    path: str | Path,
    *,
    n_users: int = N_USERS,  # simulated users; "#Users … 2230" (Table 1)
    history_length: int = HISTORY_LENGTH,  # most stickers in a history
    reference: Reference = "another",  # topic of the reference: outside the history (as in the paper), or own
    seed: int = 0,  # seed of the simulated users
    images: str | None = None,  # folder or tar of topics; null: the data's own
) -> Dataset:
    """Load stickers, and simulate users who like two topics each, from a SER30K folder.

    Every annotation is an item, ``"<topic>/<file>"``; ``n_users``, ``history_length`` and ``reference`` as
    for ``themes.theme_episodes``. ``images`` is a folder or tar of topics; None takes the first of
    ``LAYOUT``. A file of captions is read if present. Raises DataError for a missing file, an annotation of
    another form, or a repeated sticker.
    """
    return read(
        "ser30k",
        Path(path),
        LAYOUT,
        n_users=n_users,
        history_length=history_length,
        reference=reference,
        seed=seed,
        images=images,
    )


def read(
    name: str,
    folder: Path,
    layout: Layout,
    *,
    n_users: int,
    history_length: int,
    reference: Reference,
    seed: int,
    images: str | None = None,
) -> Dataset:
    """As ``load``, for a folder in this layout; ``name`` is the dataset's."""
    stickers = sorted(_stickers(folder, layout), key=lambda sticker: sticker.item_id)
    ids = np.array([sticker.item_id for sticker in stickers], dtype=str)
    topics = np.array([sticker.topic for sticker in stickers], dtype=str)
    place = picture_store(folder, layout.images) if images is None else Path(images).expanduser()
    reader = None if place is None else _images(place, ids)
    captions = captions_beside(folder, layout.captions)
    simple = np.array([sticker.caption for sticker in stickers], dtype=str)
    words = described([captions.get(item, "") for item in ids.tolist()], simple)
    interactions, episodes = theme_episodes(
        topics,
        rng=Rng(seed).for_("ser30k"),
        n_users=n_users,
        history_length=history_length,
        reference=reference,
    )
    return Dataset(
        name=name,
        catalog=Catalog(ids, ids, words.captions, topics, reader),
        interactions=interactions,
        episodes=episodes,
        encoders={"text": "minilm"} if reader is None else {"image": "efficientnet-lite0", "text": "minilm"},
        notes=(
            f"{len(ids):,} stickers of {len(np.unique(topics)):,} topics; {n_users:,} simulated users of two "
            f"topics each, up to {history_length} stickers, reference from {_FROM[reference]}, seed {seed}",
            *_image_notes(reader),
            *words.notes,
        ),
    )


_FROM = {"another": "another topic (no ranker can guess it)", "own": "their own topics"}


def _stickers(folder: Path, layout: Layout) -> list[Sticker]:
    place = first_existing(folder, layout.annotations)
    files = [] if place is None else [place / part for part in PARTS if (place / part).exists()]
    if not files:
        raise DataError(
            f"{layout.annotations[0]} with {', '.join(PARTS)} is wanted",
            file=folder,
            remedy="Unpack SER30K as published there",
        )
    seen: dict[str, str] = {}
    stickers = []
    for file in files:
        top = Fields.of(read_json(file), file, "top level")
        emotions = _emotions(top)
        for entry in top.objects("annotations"):
            sticker = _sticker(entry, emotions)
            if sticker.item_id in seen:
                entry.refuse(
                    f"{sticker.item_id!r} stands a second time; first in {seen[sticker.item_id]}",
                    "Keep one of the two",
                )
            seen[sticker.item_id] = f"{file.name}, {entry.row}"
            stickers.append(sticker)
    return stickers


def _emotions(top: Fields) -> dict[int, str]:
    """Return the names of the emotions if ``categories`` has them, as {name: number} or {number: name}."""
    if not isinstance(top.values.get("categories"), dict):
        return {}
    named = Fields.of(top.values["categories"], top.file, "categories")
    emotions = {}
    for key, value in named.values.items():
        if isinstance(value, str) and key.isdecimal() and len(key) < 5:
            emotions[int(key)] = named.text(key)
        elif isinstance(value, int):
            emotions[value] = named.as_identifier(key, "a category")
    return emotions


def _sticker(entry: Fields, emotions: dict[int, str]) -> Sticker:
    topic, name, number = entry.identifier("topic"), entry.identifier("file_name"), entry.count("anno")
    if topic is None or name is None or "anno" not in entry.values:
        return entry.refuse("topic, file_name and anno are wanted, one is missing")
    if number is not None and not 1 <= number <= N_EMOTIONS:
        entry.refuse(f"anno must be an emotion from 1 to {N_EMOTIONS}, got {number}")
    if "/" in topic or "/" in name:
        entry.refuse(f"topic and file_name must be plain names, got {topic[:60]!r} and {name[:60]!r}")
    emotion = "" if number is None else emotions.get(number, f"emotion {number}")  # null: not labelled
    return Sticker(topic, name, emotion, entry.text("text"))


def _images(place: Path, ids: np.ndarray) -> ImageFiles:
    """Return the images by topic and file name, since file names repeat across topics."""
    members = [
        replace(member, stem=f"{member.folders[-1]}/{member.file_name}")
        for member in list_members(place)
        if member.folders
    ]
    return ImageFiles(members, ids)


def _image_notes(reader: ImageFiles | None) -> tuple[str, ...]:
    if reader is None:
        return ()
    unused = reader.unmatched
    return missing_images(reader.present, "stickers") + (
        (f"{unused:,} pictures not used: no annotation names them",) if unused else ()
    )
