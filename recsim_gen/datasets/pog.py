"""POG as published: clicks of people in a fashion shop, and an outfit that each chose.

Chen et al., "POG: Personalized Outfit Generation for Fashion Recommendation at Alibaba iFashion", KDD 2019.
Text files without header: ``user_data.txt`` (``user,item;item;…,outfit``, oldest first; a user has a line for
each outfit), ``item_data.txt`` (``item,category,address of the picture,title``; titles contain commas) and
``outfit_data.txt`` (``outfit,item;item;…``). There are millions of lines; only those of sampled users are
parsed. Images are not included: they are read from ``images`` as ``<item>.jpg`` if they were downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Catalog, Interactions
from recsim_gen.datasets.described import captions_beside, described, missing_images
from recsim_gen.datasets.episodes import test_episodes
from recsim_gen.datasets.files.images import open_images
from recsim_gen.datasets.files.names import likely
from recsim_gen.datasets.files.paths import picture_store
from recsim_gen.datasets.files.tables import natural_places
from recsim_gen.datasets.pog_lines import Clicks, read_clicks, read_items, read_outfits
from recsim_gen.datasets.splits import leave_last_out
from recsim_gen.datasets.unified.styles import StyledDataset, read_styles

Reference = Literal["last", "outfit"]
"""The reference: the last clicked item, or an item of the chosen outfit."""

IMAGES = ("images.tar", "images", "images_sampled")
CAPTIONS = ("captions_sampled.json", "POG_captions_sampled.json", "captions.json")
_FEWEST = 3


@dataclass(frozen=True)
class Sequence:
    """One user's choices, oldest first; the last is the reference."""

    user: str
    items: tuple[str, ...]


def load(
    path: str | Path,
    *,
    n_users: int | None = 1000,  # number of randomly sampled users, null: all; "#Users 1000" (Table 1)
    sequence_length: int = 20,  # last items per user; with 1000 users about the table's "#Items 19242"
    reference: Reference = "last",  # the last clicked item, or one of the chosen outfit
    seed: int = 0,  # seed of the sampling of users and of items of outfits
    images: str | None = None,  # folder or tar of <item>.jpg; null: the data's own
) -> StyledDataset:
    """Load items, choices and one episode per user from a POG folder.

    ``n_users`` are sampled by ``seed`` (None: all) among those whose last ``sequence_length`` different items
    are three or more. The last of them is test and the one before it valid; with ``reference="outfit"`` a
    random item of the chosen outfit, not among them, is test. Of an item clicked twice the last click counts;
    items that ``item_data.txt`` does not list are left out and counted. ``images`` is a folder or tar; None
    takes the first of ``IMAGES``. Raises DataError for a missing file or a bad line.
    """
    if reference not in get_args(Reference):
        raise SettingError(f"reference must be one of {', '.join(get_args(Reference))}, got {reference!r}")
    if sequence_length < _FEWEST or (n_users is not None and n_users < 1):
        raise SettingError(
            f"sequence_length must be {_FEWEST} or more and n_users 1 or more, "
            f"got {sequence_length} and {n_users}"
        )
    folder, rng = Path(path), Rng(seed).for_("pog")
    clicks = read_clicks(
        folder / "user_data.txt", rng.for_("users"), n_users, keep=sequence_length, fewest=_FEWEST
    )
    outfits = {}
    if reference == "outfit":
        outfits = read_outfits(folder / "outfit_data.txt", {user.outfit for user in clicks.users})
    item_names = {item for user in clicks.users for item in user.items}.union(*outfits.values())
    items = read_items(folder / "item_data.txt", item_names)
    sequences, notes = _sequences(clicks, set(items), outfits, rng.for_("outfit"))
    ids = np.array(list(items), dtype=str)
    ids = ids[np.argsort(natural_places(ids))]
    place = picture_store(folder, IMAGES) if images is None else Path(images).expanduser()
    reader = None if place is None else open_images(place, ids)
    titles = np.array([items[item].title or f"item {item}" for item in ids.tolist()], dtype=str)
    captions = captions_beside(folder, CAPTIONS)
    words = described([captions.get(item, "") for item in ids.tolist()], titles)
    interactions = _interactions(sequences, ids)
    return StyledDataset(
        name="pog",
        catalog=Catalog(
            item_ids=ids,
            titles=titles,
            captions=words.captions,
            categories=np.array([f"category {items[item].category}" for item in ids.tolist()], dtype=str),
            images=reader,
        ),
        interactions=interactions,
        episodes=test_episodes(interactions, interactions.user_ids),
        encoders={"text": "minilm"} if reader is None else {"image": "efficientnet-lite0", "text": "minilm"},
        notes=(
            *clicks.notes,
            *notes,
            *(() if reader is None else missing_images(reader.present)),
            *words.notes,
        ),
        styles=read_styles(folder),
    )


def _sequences(
    clicks: Clicks, known: set[str], outfits: dict[str, tuple[str, ...]], rng: Rng
) -> tuple[list[Sequence], tuple[str, ...]]:
    """Return the sequences of known items with three or more; what was left out, counted."""
    made, short, bare = [], 0, 0
    strange: list[str] = []
    for user in clicks.users:
        items = tuple(item for item in user.items if item in known)
        strange += [item for item in user.items if item not in known]
        if outfits:
            choices = [i for i in outfits.get(user.outfit, ()) if i in known and i not in items]
            if not choices:
                bare += 1
                continue
            draw = rng.for_(user.name).numpy().integers(len(choices))
            items = (*items, choices[int(draw)])
        if len(items) < _FEWEST:
            short += 1
            continue
        made.append(Sequence(user.name, items))
    if not made:
        raise DataError("users with three known items are wanted, got none", remedy="Raise n_users")
    hint = likely(dict.fromkeys(strange), sorted(known)) if strange else ""
    counts = {
        f"clicks on items that item_data.txt does not list left out{hint}": len(strange),
        "users left out: fewer than three items are left": short,
        "users left out: no other item of their outfit is known": bare,
    }
    return made, tuple(f"{count:,} {what}" for what, count in counts.items() if count)


def _interactions(sequences: list[Sequence], ids: np.ndarray) -> Interactions:
    row_of = {item: row for row, item in enumerate(ids.tolist())}
    length = np.array([len(sequence.items) for sequence in sequences])
    user = np.repeat(np.arange(len(sequences)), length)
    place = np.arange(len(user)) - np.repeat(np.cumsum(length) - length, length)
    return Interactions(
        user=user,
        item=np.array([row_of[item] for sequence in sequences for item in sequence.items]),
        time=place,
        weight=np.ones(len(user)),
        split=leave_last_out(user, place),
        user_ids=np.array([sequence.user for sequence in sequences], dtype=str),
        n_items=len(ids),
    )
