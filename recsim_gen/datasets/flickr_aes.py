"""FLICKR-AES as published: photographs, each rated from 1 to 5 by about five of 210 workers.

Ren et al., "Personalized Image Aesthetics", ICCV 2017. The folder holds
``FLICKR-AES_image_labeled_by_each_worker.csv`` (worker, imagePair, score; the published header has spaces
before its names), ``FLICKR-AES_image_score.txt`` (a name and a score in [0, 1] per line) and the photographs.
There are no times: the order of the rows is used instead, as in public code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import Catalog
from recsim_gen.datasets.described import Described, captions_beside, described, missing_images
from recsim_gen.datasets.files.images import ImageFiles, open_images
from recsim_gen.datasets.files.names import clean_name
from recsim_gen.datasets.files.paths import picture_store
from recsim_gen.datasets.files.tables import Table, natural_places, read_table
from recsim_gen.datasets.files.text_lines import lines_if
from recsim_gen.datasets.sequences import Choices, Tail, cut
from recsim_gen.datasets.unified.styles import Ratings, StyledDataset, read_styles

RATINGS, SCORES = "FLICKR-AES_image_labeled_by_each_worker.csv", "FLICKR-AES_image_score.txt"
IMAGES = ("40K.tar", "40K", "images.tar", "images")
CAPTIONS = ("FLICKR_captions.json",)
PHOTOGRAPH = "photograph"


def load(
    path: str | Path,
    *,
    min_score: int = 3,  # ratings below it are not choices; the benchmark keeps scores above 2
    sequence_length: int = 20,  # choices per sequence; each person gives as many full sequences as possible
    tail: Tail = "train",  # remaining choices: kept as a shorter training user (train), or left out (drop)
    images: str | None = None,  # folder or tar of <photograph>.jpg; null: the data's own
) -> StyledDataset:
    """Load photographs, choices and sequences from a FLICKR-AES folder.

    Every photograph of the score file or of the ratings is an item, by its file name without suffix. Ratings
    of at least ``min_score`` are choices, with the rating as weight, cut into sequences (see
    ``sequences.cut``), the others are ``not_chosen``; if a worker rated a photograph twice, the later rating
    counts. ``images`` is a folder or tar; None takes the first of ``IMAGES``. Files of captions and styles
    are read if present. Raises DataError for a missing file or a bad row.
    """
    folder = Path(path)
    ratings = read_table(folder / RATINGS, ids=["worker", "imagePair"], numbers=["score"], spaced=True)
    score = ratings.numbers("score")
    ratings.refuse(
        ~np.isin(score, [1, 2, 3, 4, 5]),
        lambda i: f"score must be 1, 2, 3, 4 or 5, got {score[i]:g}",
        "Fetch the file as published, or correct that row",
    )
    aesthetic = _scores(folder / SCORES)
    ids, item = _items(ratings, aesthetic)
    choices, low, notes = _choices(ratings, item, score, min_score)
    sequences = cut(choices, len(ids), length=sequence_length, tail=tail)
    place = picture_store(folder, IMAGES) if images is None else Path(images).expanduser()
    reader = None if place is None else open_images(place, ids)
    captions = captions_beside(folder, CAPTIONS)
    words = described([captions.get(i, "") for i in ids.tolist()], np.char.add(f"{PHOTOGRAPH} ", ids))
    encoders = ({} if reader is None else {"image": "efficientnet-lite0"}) | (
        {"text": "minilm"} if words.told else {}
    )
    return StyledDataset(
        name="flickr-aes",
        catalog=_catalog(ids, words, reader),
        interactions=sequences.interactions,
        episodes=sequences.episodes,
        people=sequences.people,
        encoders=encoders or {"text": "minilm"},
        notes=(
            f"{len(ratings):,} ratings by {len(choices.people):,} workers of {len(np.unique(item)):,} "
            f"photographs; {len(aesthetic):,} photographs with a score of all",
            *notes,
            *sequences.notes,
            *(() if reader is None else missing_images(reader.present, "photographs")),
            *words.notes,
        ),
        not_chosen=low,
        styles=read_styles(folder),
        aesthetic=np.array([aesthetic.get(i, np.nan) for i in ids.tolist()]),
    )


def _scores(file: Path) -> dict[str, float]:
    """Return {photograph: score in [0, 1]} of the score file."""
    scores: dict[str, float] = {}
    for number, line in lines_if(file, lambda line: bool(line.strip())):
        name, _, text = line.strip().rpartition(" ")
        try:
            score = float(text)
        except ValueError:
            score = np.nan
        photograph = clean_name(Path(clean_name(name)).stem)
        if not photograph or not 0 <= score <= 1:
            problem = f"a name and a score in [0, 1] are wanted, got {line[:80]!r}"
        elif photograph in scores:
            problem = f"{photograph!r} stands a second time"
        else:
            scores[photograph] = score
            continue
        raise DataError(problem, file=file, row=number, remedy="Fetch the file as published")
    return scores


def _items(ratings: Table, aesthetic: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n,) ids of all photographs, and the (m,) item row of each rating."""
    code, names = ratings.ids("imagePair")
    stems = np.array([clean_name(Path(name).stem) for name in names.tolist()], dtype=str)
    ids = np.unique(np.concatenate([stems, np.array(list(aesthetic), dtype=str)]))
    ids = ids[np.argsort(natural_places(ids))]
    row_of = {item: row for row, item in enumerate(ids.tolist())}
    return ids, np.array([row_of[stem] for stem in stems.tolist()])[code]


def _choices(
    ratings: Table, item: np.ndarray, score: np.ndarray, min_score: int
) -> tuple[Choices, Ratings, tuple[str, ...]]:
    """Return the ratings that count as choices, the lower ones, and sentences that count the rest."""
    import pandas as pd

    worker, workers = ratings.ids("worker")
    again = pd.DataFrame({"worker": worker, "item": item}).duplicated(keep="last").to_numpy()
    notes = []
    if again.any():
        notes.append(f"{again.sum():,} photographs rated twice by one worker: the later rating counts")
    low = (score < min_score) & ~again
    if low.any():
        notes.append(f"{low.sum():,} ratings below {min_score} left out (min_score)")
    disliked = Ratings(workers[worker[low]], item[low], score[low])
    rows = np.flatnonzero(~again & ~low)
    choices = Choices(worker[rows], workers, item[rows], rows.astype(np.float64), score[rows], tie=rows)
    return choices, disliked, tuple(notes)


def _catalog(ids: np.ndarray, words: Described, reader: ImageFiles | None) -> Catalog:
    return Catalog(
        item_ids=ids,
        titles=ids,
        captions=words.captions,
        categories=np.full(len(ids), PHOTOGRAPH),
        images=reader,
    )
