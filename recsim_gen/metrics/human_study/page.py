"""A study of people's preferences as one self-contained, blinded and shuffled HTML page.

The images are in a folder or tar as ``history/<question>/<picture>`` and ``<method>/<question>.<suffix>``; a
question is usually ``<user id>/<item id>``. The page identifies images only by codes; the key that maps codes
to methods is not given to raters.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.decoding import decode
from recsim_gen.datasets.files.images import Member, list_members
from recsim_gen.datasets.files.tables import natural_places

if TYPE_CHECKING:
    from PIL import Image

FORMAT = "recsim-gen human study 1"
HISTORY = "history"
MOST_METHODS = 9  # single digits, so that one key press chooses a place
_LAYOUT = "Name images <method>/<question>.png and history/<question>/<picture>.png"

Picture = Callable[[], "Image.Image"]


@dataclass(frozen=True, eq=False)
class Question:
    """One person's history, oldest first, and each method's image; images are read lazily."""

    id: str
    history: tuple[Picture, ...]
    images: Mapping[str, Picture]


def read_questions(
    path: str | Path, *, history: int = 5, dataset: Dataset | None = None
) -> tuple[list[Question], list[str]]:
    """Return the questions that every method answers, by id, and remarks on what was left out.

    Parameters
    ----------
    path
        Folder or tar of the images.
    history
        Number of history images to show, the latest ones.
    dataset
        Take the histories from its test episodes ``<user id>/<item id>`` instead of from ``history/``.

    Raises
    ------
    DataError
        If there are fewer than two methods or more than ``MOST_METHODS``, two images of one method and
        question, or no question is left.
    """
    images, chosen = _sorted_out(list_members(path))
    if dataset is not None:
        histories = _from_episodes(dataset)
    else:
        histories = {q: [partial(_read, m) for m in _by_name(members)] for q, members in chosen.items()}
    if not 2 <= len(images) <= MOST_METHODS:
        raise DataError(
            f"images of 2 to {MOST_METHODS} methods are wanted, got {len(images)}: {', '.join(images)}",
            file=path,
            remedy=_LAYOUT,
        )
    named = set.union(*(set(by_question) for by_question in images.values()))
    whole = [q for q in named if q in histories and all(q in by_question for by_question in images.values())]
    notes = []
    for method, by_question in images.items():
        if lacking := len(named) - len(by_question):
            notes.append(f"{method} has no image for {lacking:,} of {len(named):,} questions: left out")
    if strangers := sorted(named - set(histories)):
        notes.append(f"{len(strangers):,} questions without history left out, such as {str(strangers[0])!r}")
    if not whole:
        more = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"a question with a history and an image of each method is wanted, got none{more}",
            file=path,
            remedy=_LAYOUT if dataset is None else "Name images <method>/<user id>/<item id>.png",
        )
    ids = np.array(whole)
    questions = [
        Question(
            str(q),
            tuple(histories[q][-history:]),
            {method: partial(_read, by_question[q]) for method, by_question in images.items()},
        )
        for q in ids[np.argsort(natural_places(ids))]
    ]
    return questions, notes


def _sorted_out(
    members: Sequence[Member],
) -> tuple[dict[str, dict[str, Member]], dict[str, list[Member]]]:
    """Return {method: {question: image}} and {question: history images}."""
    images: dict[str, dict[str, Member]] = {}
    history: dict[str, list[Member]] = {}
    for member in members:
        if not member.folders:
            raise DataError(
                "an image in the folder of its method is wanted", file=member.name, remedy=_LAYOUT
            )
        first, *rest = member.folders
        if first == HISTORY:
            history.setdefault("/".join(map(unquote, rest)), []).append(member)
            continue
        question = "/".join(map(unquote, [*rest, member.stem]))
        before = images.setdefault(first, {}).setdefault(question, member)
        if before is not member:
            raise DataError(
                f"one image of {first!r} for {question!r} is wanted, {before.name} is another",
                file=member.name,
                remedy="Remove one of the two",
            )
    return images, history


def _by_name(members: list[Member]) -> list[Member]:
    place = natural_places(np.array([member.stem for member in members]))
    return [members[k] for k in np.argsort(place, kind="stable").tolist()]


def _from_episodes(dataset: Dataset) -> dict[str, list[Picture]]:
    """Return {<user id>/<item id>: history} of the test episodes; items without an image are skipped."""
    reader = dataset.catalog.images
    if reader is None:
        raise DataError("a data set with pictures is wanted for the histories, got one without")
    users, items = dataset.interactions.user_ids, dataset.catalog.item_ids
    return {
        f"{users[e.user]}/{items[e.reference]}": [
            partial(reader.read, row) for row in e.history if reader.present[row]
        ]
        for e in dataset.episodes
    }


def _read(member: Member) -> Image.Image:
    return decode(member.read(), member.name)


@dataclass(frozen=True)
class Study:
    """The ``page`` as HTML, and the ``key`` from codes to methods, which raters must not see."""

    page: str
    key: dict[str, Any]


def make_study(
    questions: Sequence[Question], *, title: str, intro: str, prompt: str, side: int, rng: Rng
) -> Study:
    """Return the page of these questions.

    Codes and ids reveal neither methods nor people, and all images are re-encoded alike, so names, metadata
    and file formats reveal nothing either. The order of images and of questions is shuffled in the page,
    separately for each rater.

    Parameters
    ----------
    questions
        Questions to ask.
    title, intro
        Texts at the top of the page.
    prompt
        Text above the images of each question.
    side
        Images are scaled to fit into ``side`` × ``side`` pixels.
    rng
        Source of the codes.
    """
    shown, key = [], {}
    for number, question in enumerate(bar(questions, "pictures of the study"), start=1):
        code = {m: f"{rng.for_('code', question.id, m).entropy() >> 96:08x}" for m in question.images}
        name = f"q{number:03d}"
        uris = {code[m]: _uri(read(), side) for m, read in question.images.items()}
        history = [_uri(read(), side // 2) for read in question.history]
        shown.append({"id": name, "history": history, "images": dict(sorted(uris.items()))})
        key[name] = {"question": question.id, "images": {c: m for m, c in code.items()}}
    about = {"title": title, "intro": intro, "prompt": prompt}
    study = fingerprint(shown, about)[:12]
    payload = json.dumps({"format": FORMAT, "study": study, **about, "questions": shown})
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    # A "</script>" in a title or a name would end the script element.
    page = template.replace("@STUDY@", payload.replace("<", "\\u003c"))
    return Study(page, {"format": f"{FORMAT}, key", "study": study, "questions": key})


def _uri(image: Image.Image, side: int) -> str:
    """Return the image as a data URI of a new JPEG without metadata, so that all originals look alike."""
    from PIL import Image, ImageOps

    fitted = ImageOps.contain(image, (side, side), Image.Resampling.LANCZOS)
    bare = Image.fromarray(np.asarray(fitted))
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
