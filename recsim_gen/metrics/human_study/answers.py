"""Raters' answers: JSON files, validated against the key of the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.json_files import Fields, read_json, shown
from recsim_gen.metrics.human_study.page import FORMAT

if TYPE_CHECKING:
    import pandas as pd

_AS_DOWNLOADED = "Take the file as the page gave it, or leave it out"
MEGABYTES = 16


@dataclass(frozen=True)
class Key:
    """The method behind each code: ``codes`` {question code: {image code: method}}, ``ids`` {code: id}."""

    study: str
    codes: dict[str, dict[str, str]]
    ids: dict[str, str]
    methods: tuple[str, ...]


def read_key(path: str | Path) -> Key:
    """Return the key that ``export`` wrote beside the page. Raises DataError for anything else."""
    path = Path(path)
    if not path.is_file():
        raise DataError(
            "the key of the study is missing", file=path, remedy="export wrote it beside the page"
        )
    remedy = "Take the file as export wrote it"
    document = read_json(path, max_megabytes=MEGABYTES)
    if not isinstance(document, dict) or document.get("format") != f"{FORMAT}, key":
        raise DataError(f"a key of format {FORMAT!r} is wanted", file=path, remedy=remedy)
    try:
        questions = document["questions"]
        codes = {str(q): {str(c): str(m) for c, m in v["images"].items()} for q, v in questions.items()}
        ids = {str(q): str(v["question"]) for q, v in questions.items()}
        study = str(document["study"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the key is broken ({error!r})", file=path, remedy=remedy) from error
    methods = sorted({m for images in codes.values() for m in images.values()})
    return Key(study, codes, ids, tuple(methods))


def read_answers(paths: Sequence[str | Path], key: Key) -> pd.DataFrame:
    """Return one row per rater, question and method.

    Columns: ``rater``, ``question``, ``method``, ``rank`` (1 is best), ``shown`` (1-based position at which
    the page first showed it), ``seconds`` spent on the question. A rater may leave questions out. A file that
    was edited by hand into another valid order cannot be detected. Raises DataError (file, answer, remedy)
    for a file that is not JSON or belongs to another study, for an unknown or repeated question, an order
    that does not contain each image once, and two files of one rater.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    raters: dict[str, Path] = {}
    for path in map(Path, paths):
        rater, answers = _file(path, key)
        if rater in raters:
            raise DataError(
                f"one file per rater is wanted, {raters[rater]} is of {rater!r} too",
                file=path,
                remedy="Keep the later one; if they are two people, correct 'rater' in one of the files",
            )
        raters[rater] = path
        rows += [{"rater": rater, **row} for row in answers]
    if not rows:
        raise DataError("answers are wanted, got none", remedy="Give files that raters downloaded")
    return pd.DataFrame(rows)


def _file(path: Path, key: Key) -> tuple[str, list[dict[str, Any]]]:
    """Return the rater and the answers of a file. Raises DataError for an invalid one."""
    top = Fields.of(read_json(path, max_megabytes=MEGABYTES), path, "top")
    if top.values.get("format") != FORMAT:
        got = shown(top.values.get("format"))
        top.refuse(f"format must be {FORMAT!r}, got {got}", _AS_DOWNLOADED)
    if top.values.get("study") != key.study:
        got = shown(top.values.get("study"))
        top.refuse(f"study must be {key.study!r}, as in the key, got {got}", "Give the key of this study")
    rater = top.identifier("rater")
    if rater is None:
        top.refuse("rater must be a name, got none", "Give each rater a name of their own")
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for answer in top.objects("answers"):
        question = answer.identifier("question")
        if question not in key.codes:
            answer.refuse(f"question {shown(question)} is not in the key", _AS_DOWNLOADED)
        if question in seen:
            answer.refuse(f"question {question!r} is answered a second time", "Keep one of the two answers")
        seen.add(question)
        rows += _answer(answer, question, key)
    return str(rater), rows


def _answer(answer: Fields, question: str, key: Key) -> list[dict[str, Any]]:
    """Return the rows of one question."""
    method_of = key.codes[question]
    order, before = (_places(answer, name, method_of) for name in ("order", "shown"))
    about = {"question": key.ids[question], "seconds": answer.number("seconds")}
    return [{**about, "method": method_of[c], "rank": k, "shown": before[c]} for c, k in order.items()]


def _places(answer: Fields, name: str, method_of: dict[str, str]) -> dict[str, int]:
    """Return {image code: 1-based position}. Raises DataError unless each image occurs once."""
    codes = answer.values.get(name)
    if not isinstance(codes, list) or not all(isinstance(c, str) for c in codes):
        answer.refuse(f"{name} must be a list of image codes, got {shown(codes)}", _AS_DOWNLOADED)
    if unknown := [c for c in codes if c not in method_of]:
        answer.refuse(f"{name} holds {shown(unknown[0])}, no image of this question", _AS_DOWNLOADED)
    if len(set(codes)) < len(codes) or len(codes) < len(method_of):
        answer.refuse(
            f"{name} must hold each of the {len(method_of)} images once, got {len(codes)} codes, "
            f"{len(set(codes))} of them different",
            _AS_DOWNLOADED,
        )
    return {code: place for place, code in enumerate(codes, start=1)}
