"""Ask people: a page on which they rank images of several methods, and the evaluation of their answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import RunOptions
from recsim_gen.core.specs import DataSpec

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.results import Results

INTRO = "How well do these images fit a person's taste? You help to find out."
PROMPT = "Which of these would this person like best? Put them in order"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of human_study export.

    Parameters
    ----------
    images
        Folder or tar: <method>/<question>.png, and history/<question>/<picture>.png oldest first by
        name; also the first word. Use <user id>/<item id> for a question, as generate and judge do.
    data
        Take histories from test episodes of NAME or NAME:PATH instead of the folder history.
    questions
        Most questions, sampled at random; a question takes a rater about 20 seconds.
    history
        Number of history pictures to show, the latest ones.
    side
        Size in pixels to fit images into; smaller ones are enlarged.
    title
        Heading of the page.
    intro
        First sentence of the page.
    prompt
        Text above the images.
    seed
        Seed of the selection of questions and of the image codes.
    output
        The page; its key goes beside it (study.key.json beside study.html).
    quiet
        Print the paths only.
    """

    images: Path | None = None
    data: DataSpec | None = None
    questions: int = 20
    history: int = 5
    side: int = 320
    title: str = "Which image fits?"
    intro: str = INTRO
    prompt: str = PROMPT
    seed: int = 0
    output: Path = Path("study.html")
    quiet: bool = False


def export(options: ExportOptions) -> None:
    """Write one HTML page that raters open in any browser, offline, and its key, which they do not get.

    Each question shows what a person chose before and, below, an image of each method in random order and
    without its name. Raters rank them by dragging or by keys and return a JSON file.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.progress import say
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.store import atomic, write_json
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.metrics.human_study.page import make_study, read_questions

    if options.images is None:
        raise SettingError("give --images: a folder of <method>/<question>.png and history/<question>/")
    for name, value, least in (
        ("questions", options.questions, 1),
        ("history", options.history, 1),
        ("side", options.side, 32),
    ):
        if value < least:
            raise SettingError(f"--{name} must be {least} or more, got {value}")
    dataset = None if options.data is None else open_data(options.data)
    questions, notes = read_questions(options.images, history=options.history, dataset=dataset)
    rng = Rng(options.seed).for_("human study")
    order = rng.for_("questions").numpy().permutation(len(questions))
    drawn = sorted(order[: options.questions].tolist())
    study = make_study(
        [questions[k] for k in drawn],
        title=options.title,
        intro=options.intro,
        prompt=options.prompt,
        side=options.side,
        rng=rng,
    )
    output, key = options.output, key_of(options.output)
    write_json(key, study.key)
    with atomic(output) as temporary:
        temporary.write_text(study.page, encoding="utf-8")
    for note in notes:
        say(f"Note: {note}")
    say(f"{len(drawn):,} of {len(questions):,} questions, {output.stat().st_size / 2**20:.1f} MiB")
    sys.stdout.write(f"page  {output}\nkey   {key} (raters must not see it)\n")


def key_of(page: Path) -> Path:
    """Return the path of a page's key: ``study.key.json`` beside ``study.html``."""
    return page.with_name(f"{page.stem}.key.json")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(RunOptions):
    """Options of human_study score.

    Parameters
    ----------
    answers
        JSON files that raters downloaded; also the first words: score answers/*.json.
    key
        The key that export wrote beside the page.
    metrics
        CSV of numbers per image to compare with people: columns question, method, and one per metric.
    unit
        Unit that tests and intervals treat as independent: rater, to generalise to other people; question, to
        generalise to other questions for the same people.
    seed
        Seed of the intervals.
    output
        Folder for results.json, the figure and per_image.csv.
    """

    answers: tuple[Path, ...] = ()
    key: Path = Path("study.key.json")
    metrics: Path | None = None
    unit: Literal["rater", "question"] = "rater"
    seed: int = 0
    output: Path = Path("runs/human_study")


def score(options: ScoreOptions) -> None:
    """Read raters' files: mean ranks, tests, agreement of raters, and agreement of metrics with them.

    Friedman's test asks whether the methods differ at all, Wilcoxon's with Holm's correction which pairs do,
    Kendall's W how far raters agree. A rater's answers are averaged first, since they are not independent.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.core.store import fingerprint
    from recsim_gen.metrics.human_study import scores
    from recsim_gen.metrics.human_study.answers import read_answers, read_key

    if not options.answers:
        raise SettingError("give the files that raters downloaded: score answers/*.json --key study.key.json")
    key, unit = read_key(options.key), options.unit
    answers = read_answers(options.answers, key)
    measured = None if options.metrics is None else scores.read_metrics(options.metrics)
    results = Results("human_study", options.as_dict(), {"study": key.study})
    results.fingerprints["answers"] = fingerprint(answers.to_dict("list"))
    rng = Rng(options.seed)
    ranks = scores.preferences(answers, unit, results, rng)
    scores.friedman(ranks, unit, results)
    scores.pairs(ranks, unit, results, rng)
    scores.raters_agree(answers, results, rng)
    scores.position_bias(answers, results, rng)
    if measured is not None:
        scores.metrics_agree(answers, measured, results, rng)
    _note_missing(answers, len(key.codes), results)
    _publish(answers, results, options)


def _note_missing(answers: pd.DataFrame, questions: int, results: Results) -> None:
    raters = answers["rater"].nunique()
    given = len(answers[["rater", "question"]].drop_duplicates())
    results.note(f"{raters:,} raters, {given:,} of {raters * questions:,} answers given")


def _publish(answers: pd.DataFrame, results: Results, options: ScoreOptions) -> None:
    """Call `report`, and write people's ranks of every image as CSV and to MLflow."""
    from analysis.figures import grouped_bars
    from recsim_gen.core.report import report
    from recsim_gen.core.store import atomic
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.metrics.human_study.scores import per_image

    output, images = options.output, per_image(answers)
    draw = partial(
        grouped_bars,
        results,
        output / "mean_rank",
        title="What people prefer",
        ylabel=f"mean rank (1 is best of {answers['method'].nunique()})",
        metrics=["mean_rank"],
    )
    results.write(output)  # before the tracker, which may fail
    with atomic(output / "per_image.csv") as temporary:
        images.to_csv(temporary, index=False)
    with Tracker.of("human_study", options) as tracker:
        tracker.run.log_dataset("answers", answers, results.fingerprints["answers"])
        report(results, tracker, output, draw=draw, metrics=["mean_rank", "first"], digits=2)
        tracker.run.log_table("per_image", images)


if __name__ == "__main__":
    raise SystemExit(run({"export": export, "score": score}))
